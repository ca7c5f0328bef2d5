//! What the client does besides running commands: one file a mode, or a family of them.

use std::process::ExitCode;

use crate::options::Mode;
use crate::session::Session;

mod big_keys;
mod hot_keys;
mod key_stats;
mod latency;
mod live;
mod lru_test;
mod pipe;
mod progress;
mod rdb;
pub mod replica;
mod scan;
mod stat;
mod types;

/// Connects, unless the mode needs no server, and does it. Whatever fails has been told when this returns.
pub fn run(mode: Mode, mut session: Session) -> ExitCode {
    if let Mode::IntrinsicLatency { seconds } = mode {
        return latency::intrinsic(seconds);
    }
    // SCAN's own error says why; these go on to find out.
    let greeting_matters =
        !matches!(mode, Mode::Scan | Mode::BigKeys | Mode::MemoryKeys | Mode::KeyStats | Mode::HotKeys);
    match session.connect() {
        Ok(well) if well || !greeting_matters => {}
        _ => return ExitCode::FAILURE,
    }
    let done = match mode {
        Mode::Latency => latency::sample(&mut session, false),
        Mode::LatencyHistory => latency::sample(&mut session, true),
        Mode::LatencyDistribution => latency::distribution(&mut session),
        Mode::IntrinsicLatency { .. } => unreachable!("needs no server"),
        Mode::Stat => stat::run(&mut session),
        Mode::Live => live::run(&mut session),
        Mode::Replica => replica::run(&mut session),
        Mode::Rdb { file, functions_only } => rdb::run(&mut session, &file, functions_only),
        Mode::Pipe => pipe::run(&mut session),
        Mode::BigKeys => big_keys::run(&mut session, false),
        Mode::MemoryKeys => big_keys::run(&mut session, true),
        Mode::KeyStats => key_stats::run(&mut session),
        Mode::HotKeys => hot_keys::run(&mut session),
        Mode::Scan => scan::run(&mut session),
        Mode::LruTest { keys } => lru_test::run(&mut session, keys),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            if !why.0.is_empty() {
                eprintln!("{}", why.0);
            }
            ExitCode::FAILURE
        }
    }
}

/// What a mode could not do, in words for the user; empty if they have been said.
#[derive(Debug)]
pub struct Failed(pub String);

impl Failed {
    pub fn new(why: impl Into<String>) -> Failed {
        Failed(why.into())
    }
}

impl From<crate::connection::LinkError> for Failed {
    fn from(error: crate::connection::LinkError) -> Self {
        match error {
            crate::connection::LinkError::Interrupted => Failed(String::new()),
            error => Failed(format!("Error: {error}")),
        }
    }
}
