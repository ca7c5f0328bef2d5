//! A script in execution: what its `redis.call` may do.

use std::time::Duration;

use config::LogLevel;
use parking_lot::Mutex;
use resp::Reply;
use scripting::{Ended, Engine, Program, ScriptFlags};

use crate::context::Host;
use crate::registry::{Command, Registry};
use crate::spec::Flags;
use crate::stats::ThreadStats;

/// A script or function that is about to run. Its keys and arguments are those of the request: `EVAL script numkeys [key ...] [arg ...]`.
#[derive(Clone, Debug)]
pub struct ScriptCall {
    pub program: Program,
    pub key_count: usize,
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

/// Where the keys of such a request begin.
pub const FIRST_KEY: usize = 3;

/// The access that a script runs in.
pub trait Executor {
    /// Executes one command, alone in the world.
    fn execute(&mut self, command: &Command, args: &[&[u8]], reply: &mut Reply);
    /// The script is none of the shortest: whoever has been served must not wait for its end.
    fn lasts(&mut self) {}
    /// The script has become slow: lets others have the world for what they may do meanwhile. `has_written`: it can have changed
    /// something. False if it is to end here, which it only is if it has not, or if the server ends.
    fn meanwhile(&mut self, has_written: bool) -> bool;
}

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
    permits: Permits<'a>,
    /// A command that writes was called, whatever became of it: as in Redis, the script can not be killed any more.
    has_written: bool,
    executor: &'a mut dyn Executor,
}

impl<'a> Commands<'a> {
    /// The command that is called, unless a script must not call it.
    fn admit(&mut self, args: &[&[u8]]) -> Result<&'a Command, &'static str> {
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
    fn call(&mut self, args: &[&[u8]], reply: &mut Reply) {
        match self.admit(args) {
            Ok(command) => {
                self.has_written |= command.spec.flags.contains(Flags::WRITE);
                self.executor.execute(command, args, reply);
            }
            Err(text) => {
                self.stats.count_error(text.as_bytes());
                reply.error(text);
            }
        }
    }

    fn fails_with(&mut self, text: &[u8]) {
        // Without a space there is no code in it.
        self.stats.count_error(if text.contains(&b' ') { text } else { b"ERR" });
    }

    fn log(&mut self, level: u8, text: &str) {
        self.host.log(log_level(level), text);
    }

    fn permits(&self, args: &[&[u8]]) -> Option<bool> {
        Some((self.permits)(self.registry.called(args)?, args))
    }

    fn lasts(&mut self) {
        self.executor.lasts();
    }

    fn meanwhile(&mut self) -> bool {
        self.executor.meanwhile(self.has_written)
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

/// Runs the script that the request `args` calls, and writes its reply.
#[expect(clippy::too_many_arguments, reason = "parts of one access, which the caller has taken apart")]
pub fn run(
    call: &ScriptCall,
    args: &[&[u8]],
    engine: &Mutex<Option<Engine>>,
    slow_after: Option<Duration>,
    registry: &Registry,
    host: &dyn Host,
    stats: &ThreadStats,
    reply: &mut Reply,
    permits: Permits<'_>,
    executor: &mut dyn Executor,
) -> Ended {
    let mut engine = engine.try_lock().expect("a script runs alone, and calls no script");
    let engine = engine.as_mut().expect("the interpreter has compiled this script");
    let (keys, args) = args[FIRST_KEY..].split_at(call.key_count);
    let ScriptCall { read_only, out_of_memory, .. } = *call;
    let mut commands =
        Commands { registry, host, stats, read_only, out_of_memory, permits, has_written: false, executor };
    let mut run = |reply: &mut Reply| {
        let mark = reply.mark();
        let ended = engine.run(&call.program, keys, args, slow_after, &mut commands, reply);
        if matches!(ended, Ended::Failed { counted: false } | Ended::Killed) {
            stats.count_error(reply.error_code_at(mark).unwrap_or(b"ERR"));
        }
        ended
    };
    if !reply.skip() {
        return run(reply);
    }
    // Nobody will read it, but errors are counted.
    let mut unread = Reply::default();
    unread.set_proto(reply.proto());
    run(&mut unread)
}
