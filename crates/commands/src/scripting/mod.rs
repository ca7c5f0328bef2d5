//! Scripts and functions: EVAL, FCALL and their kin. The interpreter is the crate [`scripting`]; here lies what connects it with the commands.
//!
//! ```text
//!  EVAL ──> finds and compiles the script ──> Stop::Script(call)
//!                                                 │ the dispatcher gives back the access that it gave the handler
//!                                                 ▼
//!                                      run(): redis.call ──> looked up, refused or executed, as a command of its own
//!                                             all effects together are one unit, as those of a transaction
//! ```

mod eval;
mod fcall;
mod function;
mod run;
mod script;

use std::sync::Arc;

use parking_lot::Mutex;
use scripting::{Cache, Engine, Functions, Lifetime, Program, Script};

pub use eval::denies_oom;
pub use run::{ScriptCall, run};
pub use scripting::{Ended, Policy};

use crate::error::Error;
use crate::spec::Spec;

pub const SPECS: &[&Spec] = &[
    &eval::EVAL,
    &eval::EVAL_RO,
    &eval::EVALSHA,
    &eval::EVALSHA_RO,
    &fcall::FCALL,
    &fcall::FCALL_RO,
    &function::SPEC,
    &script::SPEC,
];

/// The version of Redis that scripts are told.
pub const VERSION: [u8; 3] = [8, 2, 0];

/// The scripts and functions that are known, and their interpreters. Part of [`Global`](crate::Global).
#[derive(Default)]
pub struct Scripts {
    pub cache: Cache,
    pub functions: Functions,
    /// EVAL's scripts that had to go for others.
    pub evicted: u64,
    /// Made when the first script comes. Shared, so that a script's commands can have the world while it runs; it belongs to the
    /// wide side, so nobody ever waits for it.
    engine: Arc<Mutex<Option<Engine>>>,
}

impl Scripts {
    /// Makes a script ready, and keeps it.
    ///
    /// # Errors
    /// The text for the client if it is none.
    pub fn add(&mut self, script: &Script, lifetime: Lifetime) -> Result<(), Error> {
        let mut engine = self.engine.lock();
        let engine = match &mut *engine {
            Some(engine) => engine,
            empty => empty.insert(Engine::new(VERSION).map_err(Error::Bytes)?),
        };
        engine.compile(script).map_err(Error::Bytes)?;
        if let Some(gone) = self.cache.insert(script.clone(), lifetime) {
            engine.forget(&gone);
            self.evicted += 1;
        }
        Ok(())
    }

    /// SCRIPT FLUSH: an empty cache, and an interpreter that remembers nothing. Returns the old one.
    pub fn clear(&mut self) -> Option<Engine> {
        self.cache.clear();
        self.engine.lock().take()
    }

    /// The interpreter, for [`run`].
    pub fn engine_for(&self, call: &ScriptCall) -> Arc<Mutex<Option<Engine>>> {
        match call.program {
            Program::Script(_) => self.engine.clone(),
            Program::Function(_) => self.functions.engine(),
        }
    }

    /// Memory of the interpreter of scripts; `None` while it is in use.
    pub fn interpreter_bytes(&self) -> Option<usize> {
        Some(self.engine.try_lock()?.as_ref().map_or(0, Engine::memory_bytes))
    }
}
