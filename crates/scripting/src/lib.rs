//! Lua scripts: the interpreter, its sandbox, and what a script sees of the server.
//!
//! Owned here: [`Engine`], an interpreter; [`Script`], a text with its name and flags; [`Cache`], the scripts that EVALSHA
//! finds; [`Functions`], the libraries that FCALL finds, with an interpreter of their own; `natives`, the libraries that scripts bring with them. The language's side of the sandbox is `sandbox.lua`. This crate knows no command, no key and no socket: what a
//! script calls goes to a [`Host`], whose replies come back in the protocol's form. Start reading at [`Engine::run`].
//!

mod cache;
mod call;
mod convert;
mod engine;
mod functions;
pub mod fuzz;
mod natives;
mod script;

pub use cache::{Cache, Lifetime};
pub use engine::{Ended, Engine, Host, Program};
pub use functions::{Function, Functions, Library, Policy};
pub use script::{Script, ScriptFlags, Sha1, sha1_of};
