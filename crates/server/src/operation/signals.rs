//! Signals that ask the server to end.
//!
//! ```text
//!   running --SIGTERM or SIGINT--> asked (callback, once) --SIGINT--> exit(1) at once
//!                                    ^            │
//!                                    └──SIGTERM───┘
//! ```
//!
//! They are received on a thread of their own, so nothing here runs inside a signal handler, and a second signal ends the
//! process even when every event loop hangs: that is what it is for. As in Redis only SIGINT does, which people send: a
//! supervisor that repeats SIGTERM must not cost what has not been saved.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use commands::ShutdownOptions;
use config::{Config, ShutdownOnSignal, directives};
use nix::sys::signal::{SigHandler, Signal, signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::log::Log;

/// The signal that asked the server to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    Interrupt,
    Terminate,
}

impl Termination {
    pub fn name(self) -> &'static str {
        match self {
            Termination::Interrupt => "SIGINT",
            Termination::Terminate => "SIGTERM",
        }
    }

    /// What `shutdown-on-sigint` and `shutdown-on-sigterm` make of it.
    pub fn options(self, config: &Config) -> ShutdownOptions {
        let flags = config.get(match self {
            Termination::Interrupt => directives::SHUTDOWN_ON_SIGINT,
            Termination::Terminate => directives::SHUTDOWN_ON_SIGTERM,
        });
        ShutdownOptions {
            save: match (flags.contains(ShutdownOnSignal::SAVE), flags.contains(ShutdownOnSignal::NOSAVE)) {
                (true, _) => Some(true),
                (false, true) => Some(false),
                (false, false) => None,
            },
            now: flags.contains(ShutdownOnSignal::NOW),
            force: flags.contains(ShutdownOnSignal::FORCE),
            abort: false,
            safe: flags.contains(ShutdownOnSignal::SAFE),
            failover: flags.contains(ShutdownOnSignal::FAILOVER),
        }
    }
}

/// Whether a shutdown is under way, whoever asked for it.
static ASKED: AtomicBool = AtomicBool::new(false);

/// A shutdown that was asked for could not be carried out (SHUTDOWN ABORT, or saving failed): the next signal asks anew.
pub fn forget_request() {
    ASKED.store(false, Ordering::SeqCst);
}

/// Starts to listen. `on_request` is called once, on the signals' own thread: it has to hand the request to an event loop
/// (a flag and a wake-up) and return. Call it after daemonize, which no thread survives.
///
/// # Errors
/// When a handler cannot be installed or the thread not started.
pub fn listen(log: &'static Log, on_request: impl Fn(Termination) + Send + 'static) -> io::Result<()> {
    ignore_those_without_meaning();
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".to_owned()).stack_size(256 * 1024).spawn(move || {
        for number in signals.forever() {
            let termination = if number == SIGINT { Termination::Interrupt } else { Termination::Terminate };
            let is_asked = ASKED.swap(true, Ordering::SeqCst);
            if is_asked && termination == Termination::Interrupt {
                log.warning(&format!("Received {} again: exiting now, without saving.", termination.name()));
                std::process::exit(1);
            }
            log.warning(&format!("Received {} scheduling shutdown...", termination.name()));
            if !is_asked {
                on_request(termination);
            }
        }
    })?;
    Ok(())
}

/// A closed terminal or a client that has gone must not end the server.
fn ignore_those_without_meaning() {
    for ignored in [Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: ignoring a signal installs no code.
        let _ = unsafe { signal(ignored, SigHandler::SigIgn) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::testing::Child;

    #[test]
    fn options_come_from_the_configuration() {
        let mut config = Config::default();
        assert_eq!(Termination::Interrupt.options(&config), ShutdownOptions::default());
        config.set(directives::SHUTDOWN_ON_SIGINT, &[b"nosave", b"now"]).unwrap();
        let options = ShutdownOptions { save: Some(false), now: true, ..ShutdownOptions::default() };
        assert_eq!(Termination::Interrupt.options(&config), options);
        assert_eq!(Termination::Terminate.options(&config), ShutdownOptions::default());
    }

    /// Not a test by itself: what the child process of the next one does.
    #[test]
    fn child_that_never_ends() {
        if !Child::is_one("never-ends") {
            return;
        }
        listen(&crate::operation::LOG, |_| crate::operation::LOG.notice("asked")).unwrap();
        crate::operation::LOG.notice("listening");
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn an_interrupt_after_another_signal_forces() {
        let mut child = Child::start("operation::signals::tests::child_that_never_ends", "never-ends");
        child.wait_for_line("listening");
        child.signal(Signal::SIGHUP);
        child.signal(Signal::SIGTERM);
        child.wait_for_line("Received SIGTERM scheduling shutdown...");
        child.wait_for_line("asked");
        child.signal(Signal::SIGTERM);
        child.wait_for_line("Received SIGTERM scheduling shutdown...");
        child.signal(Signal::SIGINT);
        child.wait_for_line("Received SIGINT again");
        assert_eq!(child.wait().code(), Some(1));
    }
}
