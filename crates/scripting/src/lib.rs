//! Lua scripts: the interpreter, its sandbox, and what a script sees of the server.
//!
//! Owned here: [`Engine`], the one interpreter; [`Script`], a text with its name and flags; [`Cache`], the scripts that EVALSHA
//! finds. The language's side of the sandbox is `sandbox.lua`. This crate knows no command, no key and no socket: what a
//! script calls goes to a [`Host`], whose replies come back in the protocol's form. Start reading at [`Engine::run`].
//!

mod cache;
mod convert;
mod engine;
mod natives;
mod script;

pub use cache::{Cache, Lifetime};
pub use engine::{Ended, Engine, Host, Limits};
pub use script::{Script, ScriptFlags, Sha1};
