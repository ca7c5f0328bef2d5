//! The script in execution, where others can see it: while it is slow.
//!
//! ```text
//!  runs ── busy-reply-threshold is over ──> slow: between its instructions the world is lent to others
//!                                             │   what has the flag ALLOW_BUSY runs, everything else hears BUSY
//!                                             ├─ SCRIPT KILL, FUNCTION KILL: ends here, unless it has written
//!                                             └─ SHUTDOWN NOSAVE: ends here
//! ```
//!
//! A script that is not slow is seen by nobody: it is alone in the world.

use std::time::Instant;

use crate::error::Error;
use crate::scripting::ScriptCall;

/// A slow script. Part of [`Scripts`](crate::scripting::Scripts).
pub struct Running {
    /// The digest of a script, or the name of a function.
    pub name: Vec<u8>,
    pub is_function: bool,
    /// The request that has called it.
    pub command: Vec<Vec<u8>>,
    pub began: Instant,
    /// A command that writes was called.
    pub has_written: bool,
    /// It ends as soon as it has its turn.
    pub is_killed: bool,
}

impl Running {
    pub fn new(call: &ScriptCall, command: &[&[u8]], began: Instant) -> Running {
        Running {
            name: call.name().to_vec(),
            is_function: call.is_function(),
            command: command.iter().map(|word| word.to_vec()).collect(),
            began,
            has_written: false,
            is_killed: false,
        }
    }

    /// What hears who asks for anything else.
    pub fn busy(&self) -> Error {
        Error::text(match self.is_function {
            false => "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            true => "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
        })
    }

    /// SCRIPT KILL and FUNCTION KILL (`function`).
    ///
    /// # Errors
    /// It is of the other kind, or has written.
    pub fn kill(&mut self, function: bool) -> Result<(), Error> {
        if self.has_written {
            return Err(Error::text(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
                 script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
            ));
        }
        if self.is_function != function {
            return Err(self.busy());
        }
        self.is_killed = true;
        Ok(())
    }
}
