//! Ctrl-C: by default it ends the program, as anywhere; while caught it only ends what is being waited for.

use std::sync::atomic::{AtomicBool, Ordering};

static HAPPENED: AtomicBool = AtomicBool::new(false);

/// While this lives Ctrl-C sets a mark. Waiting calls ([`wait_readable`](crate::connection::wait_readable), [`pause`]) see it.
pub struct Caught(());

/// Catches Ctrl-C until the result is dropped. Not to be nested.
pub fn catch() -> Caught {
    HAPPENED.store(false, Ordering::Relaxed);
    install(on_interrupt as *const () as libc::sighandler_t);
    Caught(())
}

impl Drop for Caught {
    fn drop(&mut self) {
        install(libc::SIG_DFL);
        HAPPENED.store(false, Ordering::Relaxed);
    }
}

/// Whether Ctrl-C was pressed since [`catch`].
pub fn happened() -> bool {
    HAPPENED.load(Ordering::Relaxed)
}

/// It has been dealt with.
pub fn forget() {
    HAPPENED.store(false, Ordering::Relaxed);
}

/// Sleeps; Ctrl-C ends it. Says whether the time has passed whole.
pub fn pause(time: std::time::Duration) -> bool {
    let deadline = std::time::Instant::now() + time;
    loop {
        if happened() {
            return false;
        }
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return true;
        }
        // SAFETY: no descriptors are passed. Unlike `thread::sleep` it comes back when a signal arrives.
        unsafe { libc::poll(std::ptr::null_mut(), 0, left.as_millis().clamp(1, 3_600_000) as i32) };
    }
}

extern "C" fn on_interrupt(_: libc::c_int) {
    HAPPENED.store(true, Ordering::Relaxed);
}

fn install(handler: libc::sighandler_t) {
    // SAFETY: the structure is plain data for which zeros mean no flags (no SA_RESTART, so that waiting calls end), and the handler
    // only stores to an atomic.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigaction(libc::SIGINT, &action, std::ptr::null_mut());
    }
}

/// Ends the program as a closed pipe ends `cat`: quietly, by its signal. Not for sockets, where the same signal is ignored: a server
/// that has gone is an error to be told.
pub fn die_of_closed_pipe() -> ! {
    // SAFETY: installs the default handler and raises the signal, which ends the process.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::raise(libc::SIGPIPE);
    }
    std::process::exit(1)
}
