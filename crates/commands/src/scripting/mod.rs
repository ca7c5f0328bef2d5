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
mod running;
mod script;

use std::sync::Arc;

use parking_lot::Mutex;
use scripting::{Cache, Engine, Lifetime, Program, Script};

pub use eval::denies_oom;
pub use run::{Executor, FIRST_KEY, ScriptCall, run};
pub use running::Running;
pub use scripting::{Ended, Functions, Policy};

use crate::client::Session;
use crate::error::Error;
use crate::global::Global;
use crate::registry::Command;
use crate::spec::{Flags, Group, Spec};
use crate::transaction::is_exec;

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

/// What this call of a command may do, where that is more or less than the command's flags say: by what the script or function declares about
/// itself. One that declares nothing, or is not known yet, may write, and its commands are asked one by one.
pub fn flags_of_call(global: &Global, command: &Command, args: &[&[u8]]) -> Flags {
    let mut flags = command.spec.flags;
    if command.spec.group != Group::Scripting {
        return flags;
    }
    let declared = match command.spec.name {
        "eval" | "eval_ro" if args[1].starts_with(b"#!") => Script::parse(args[1]).ok().and_then(|script| script.flags),
        "eval" | "eval_ro" => None,
        "evalsha" | "evalsha_ro" => global.scripts.cache.peek(args[1]).and_then(|script| script.flags),
        "fcall" | "fcall_ro" => global.scripts.functions.find(args[1]).map(|function| function.flags),
        _ => return flags,
    };
    let only_reads = flags.contains(Flags::READONLY) || declared.is_some_and(|declared| declared.no_writes);
    flags.set(Flags::MAY_REPLICATE, !only_reads);
    flags.set(Flags::WRITE, declared.is_some() && !only_reads);
    flags.set(Flags::STALE, declared.is_none_or(|declared| declared.allow_stale));
    flags
}

/// Whether a request of this name calls a script, for whoever has not looked it up: a guess, since commands can have other names.
pub fn may_be_call(name: &[u8]) -> bool {
    let begins_with = |word: &[u8]| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    begins_with(b"eval") || begins_with(b"fcall")
}

/// Whether this command runs scripts, which may take long.
pub fn may_take_long(command: &Command, session: &Session) -> bool {
    if let Some(transaction) = &session.transaction {
        return transaction.has_scripts() && is_exec(command);
    }
    command.spec.group == Group::Scripting
}

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
    /// The script in execution, if it is slow.
    pub running: Option<Running>,
}

impl Scripts {
    /// SCRIPT KILL and FUNCTION KILL (`function`).
    ///
    /// # Errors
    /// There is nothing to kill, or not that way.
    pub fn kill(&mut self, function: bool) -> Result<(), Error> {
        match &mut self.running {
            Some(running) => running.kill(function),
            None => Err(Error::text("NOTBUSY No scripts in execution right now.")),
        }
    }

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

    /// The script of this text, ready to run: it is known, or becomes so.
    ///
    /// # Errors
    /// The text for the client if it is none.
    pub fn of_text(&mut self, text: &[u8]) -> Result<Script, Error> {
        // What is in the cache has been compiled.
        if let Some(script) = self.cache.get_by_text(text) {
            return Ok(script.clone());
        }
        let script = Script::parse(text).map_err(Error::Bytes)?;
        self.add(&script, Lifetime::Evaluated)?;
        Ok(script)
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
