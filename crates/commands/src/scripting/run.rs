//! A script in execution: what its `redis.call` may do.

use std::time::Duration;

use config::LogLevel;
use parking_lot::Mutex;
use resp::{Proto, Reply};
use scripting::{Ended, Engine, Limits, Program, ScriptFlags};

use crate::context::Host;
use crate::registry::{Command, Registry};
use crate::spec::Flags;
use crate::stats::ThreadStats;

/// A script or function that is about to run.
#[derive(Clone, Debug)]
pub struct ScriptCall {
    pub program: Program,
    pub keys: Vec<Vec<u8>>,
    pub args: Vec<Vec<u8>>,
    /// EVAL_RO and its kin, or the script says so itself.
    pub read_only: bool,
    /// Memory is full, and the script does not say that it may use more.
    pub out_of_memory: bool,
}

impl ScriptCall {
    /// What the script declares about itself; `None` if it declares nothing, and each of its commands is asked instead.
    pub fn flags(&self) -> Option<ScriptFlags> {
        self.program.flags()
    }

    /// The digest of a script, the name of a function.
    pub fn name(&self) -> &[u8] {
        self.program.name()
    }

    pub fn is_function(&self) -> bool {
        matches!(self.program, Program::Function(_))
    }
}

/// Executes one command, alone in the world, and returns its reply in this protocol.
pub type Execute<'a> = &'a mut dyn FnMut(&Command, &[&[u8]], Proto) -> Vec<u8>;

/// Whether the caller of a script may run a command.
pub type Permits<'a> = &'a dyn Fn(&Command, &[&[u8]]) -> bool;

/// What a script sees of the server.
struct Commands<'a> {
    registry: &'a Registry,
    host: &'a dyn Host,
    stats: &'a ThreadStats,
    read_only: bool,
    /// Memory was full when the script began, and it has called no command that writes: what needs memory is refused. Half of a script must
    /// not be.
    out_of_memory: bool,
    dirty_before: u64,
    permits: Permits<'a>,
    execute: Execute<'a>,
}

impl Commands<'_> {
    /// The command that is called, unless a script must not call it.
    fn admit(&mut self, args: &[&[u8]]) -> Result<&Command, &'static str> {
        let Some(command) = self.registry.called(args) else {
            return Err("ERR Unknown Redis command called from script");
        };
        let refused = if !command.spec.accepts(args.len()) || command.spec.run.is_none() {
            "ERR Wrong number of args calling Redis command from script"
        } else if command.spec.flags.contains(Flags::NOSCRIPT) {
            "ERR This Redis command is not allowed from script"
        } else if self.read_only && command.spec.flags.intersects(Flags::WRITE.union(Flags::MAY_REPLICATE)) {
            "ERR Write commands are not allowed from read-only scripts."
        } else if self.out_of_memory && command.spec.flags.contains(Flags::DENYOOM) {
            "OOM command not allowed when used memory > 'maxmemory'."
        } else {
            self.out_of_memory &= !command.spec.flags.contains(Flags::WRITE);
            return Ok(command);
        };
        self.stats.by_command[command.id as usize].rejected.add(1);
        Err(refused)
    }
}

impl scripting::Host for Commands<'_> {
    fn call(&mut self, args: &[&[u8]], resp3: bool) -> Result<Vec<u8>, Vec<u8>> {
        match self.admit(args) {
            Ok(command) => {
                let id = command.id;
                let command = self.registry.by_id(id);
                Ok((self.execute)(command, args, if resp3 { Proto::Resp3 } else { Proto::Resp2 }))
            }
            Err(text) => {
                self.stats.count_error(text.as_bytes());
                Err(text.into())
            }
        }
    }

    fn log(&mut self, level: u8, text: &str) {
        self.host.log(log_level(level), text);
    }

    fn permits(&self, args: &[&[u8]]) -> Option<bool> {
        Some((self.permits)(self.registry.called(args)?, args))
    }

    fn has_written(&self) -> bool {
        self.stats.dirty.get() != self.dirty_before
    }
}

/// The level that scripts call so.
pub(super) fn log_level(level: u8) -> LogLevel {
    match level {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        _ => LogLevel::Warning,
    }
}

/// Runs a script and writes its reply.
#[expect(clippy::too_many_arguments, reason = "parts of one access, which the caller has taken apart")]
pub fn run(
    call: &ScriptCall,
    engine: &Mutex<Option<Engine>>,
    time_max: Option<Duration>,
    registry: &Registry,
    host: &dyn Host,
    stats: &ThreadStats,
    reply: &mut Reply,
    permits: Permits<'_>,
    execute: Execute<'_>,
) -> Ended {
    let mut engine = engine.try_lock().expect("a script runs alone, and calls no script");
    let engine = engine.as_mut().expect("the interpreter has compiled this script");
    let keys: Vec<&[u8]> = call.keys.iter().map(Vec::as_slice).collect();
    let args: Vec<&[u8]> = call.args.iter().map(Vec::as_slice).collect();
    let dirty_before = stats.dirty.get();
    let ScriptCall { read_only, out_of_memory, .. } = *call;
    let mut commands = Commands { registry, host, stats, read_only, out_of_memory, dirty_before, permits, execute };
    let mut own = Reply::default();
    own.set_proto(reply.proto());
    let ended = engine.run(&call.program, &keys, &args, Limits { time_max }, &mut commands, &mut own);
    let name = String::from_utf8_lossy(call.name()).into_owned();
    match ended {
        Ended::Failed { counted: false } => {
            let text: Vec<u8> = own.segments().flatten().copied().skip(1).collect();
            stats.count_error(&text);
        }
        Ended::TimedOut => {
            host.log(
                LogLevel::Warning,
                &format!("Script {name} has run for too long and was ended; it had written nothing."),
            );
        }
        _ => {}
    }
    if !reply.skip() {
        reply.append(&mut own);
    }
    ended
}
