//! Crash reports: what is left to say when Spinel has met a bug of its own.
//!
//! A panic, or a signal that means one, writes a report to the log (what happened, the command in execution, the stack,
//! INFO) and ends the process. State that a bug has touched is not served any more, so no panic is survived.
//!
//! ```text
//!  panic ------------\
//!                     >-- first one reports --> SIGABRT, or the same signal with its default action (core, exit status)
//!  SIGSEGV, SIGBUS --/        |
//!  SIGFPE, SIGILL             |--- crashes again while it reports: ends at once
//!  SIGABRT                    |--- hangs (the heap's lock was held): SIGALRM ends it after ALARM_SECONDS
//!                             `--- other threads that crash meanwhile wait for it
//! ```
//!
//! A signal handler may strictly call next to nothing. Reporting breaks that rule knowingly: the process is lost anyhow,
//! what matters most is written first and piece by piece, and the alarm bounds the worst case.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use commands::observation::shown_arg;
use commands::{Client, Registry};
use config::LogLevel;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::unistd::gettid;

use super::log::Log;

const SIGNALS: [Signal; 5] = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT];

/// After so long a report is given up.
const ALARM_SECONDS: u32 = 10;

/// Arguments shown of the command in execution, and bytes shown of each.
const ARGUMENTS_SHOWN_MAX: usize = 32;
const ARGUMENT_BYTES_SHOWN_MAX: usize = 128;

/// Enough to resolve a stack's symbols on.
const SIGNAL_STACK_BYTES: usize = 512 * 1024;

static LOG: OnceLock<&'static Log> = OnceLock::new();
static INFO: OnceLock<Box<dyn Fn() -> String + Send + Sync>> = OnceLock::new();
/// Which arguments of a command are secrets.
static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
static ENABLED: AtomicBool = AtomicBool::new(true);
static HIDE_USER_DATA: AtomicBool = AtomicBool::new(true);
/// The thread that reports; 0 before the crash.
static REPORTER: AtomicI32 = AtomicI32::new(0);

type DefaultPanicHook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;
static DEFAULT_PANIC_HOOK: OnceLock<DefaultPanicHook> = OnceLock::new();

/// The command that this thread executes.
#[derive(Clone, Copy)]
struct Current {
    client: *const Client,
    arguments: *const &'static [u8],
    argument_count: usize,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// While it lives, a crash of this thread is blamed on this command.
#[must_use = "the command is executing for as long as this lives"]
pub struct Executing {
    before: Option<Current>,
}

/// Notes the command that this thread executes from now on. Costs two stores and two loads.
///
/// # Safety
/// Both stay valid until what is returned is dropped. They are not borrowed for so long, because the handler needs the
/// session that holds the client.
#[inline]
pub unsafe fn executing(client: &Client, arguments: &[&[u8]]) -> Executing {
    let current = Current { client, arguments: arguments.as_ptr().cast(), argument_count: arguments.len() };
    Executing { before: CURRENT.replace(Some(current)) }
}

impl Drop for Executing {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Installs the panic hook and, unless [`set_enabled`] says otherwise, the signal handlers, and prepares this thread.
///
/// # Panics
/// If called twice.
pub fn install(log: &'static Log) {
    assert!(LOG.set(log).is_ok(), "crash reports are installed once");
    let _ = DEFAULT_PANIC_HOOK.set(std::panic::take_hook());
    std::panic::set_hook(Box::new(report_panic));
    set_enabled(ENABLED.load(Ordering::Relaxed));
    prepare_thread();
}

/// `crash-log-enabled`. A bug ends the process in any case.
pub fn set_enabled(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
    if LOG.get().is_none() {
        return;
    }
    let handler = if enabled { SigHandler::SigAction(report_signal) } else { SigHandler::SigDfl };
    // Without SA_NODEFER: the same signal inside its own handler ends the process, as it should.
    let action = SigAction::new(handler, SaFlags::SA_ONSTACK | SaFlags::SA_SIGINFO, SigSet::empty());
    for signal in SIGNALS {
        // SAFETY: the handler is a function of this module made for it.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

/// `hide-user-data-from-log`: arguments and names of clients are shown as lengths.
pub fn set_hide_user_data(hide: bool) {
    HIDE_USER_DATA.store(hide, Ordering::Relaxed);
}

/// Where the report's INFO comes from. It is called on a thread that has crashed: it must not wait for a lock, and has to
/// leave out what it cannot have without one.
pub fn set_info(info: impl Fn() -> String + Send + Sync + 'static) {
    let _ = INFO.set(Box::new(info));
}

/// The commands, which say what of their arguments is never shown.
pub fn set_registry(registry: Arc<Registry>) {
    let _ = REGISTRY.set(registry);
}

/// Gives this thread a stack for its signal handlers, so that even an overflow of its own is reported. For every event
/// loop, once; threads without it report on the small stack that Rust gives them, and may not get to the end.
pub fn prepare_thread() {
    let Some(bytes) = NonZeroUsize::new(SIGNAL_STACK_BYTES) else { return };
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // From the system, not the heap: memory that nobody ever touches is not used memory.
    // SAFETY: a new mapping, at an address of the kernel's choice, overlaps nothing.
    let Ok(memory) = (unsafe { mmap_anonymous(None, bytes, access, flags) }) else { return };
    let stack = libc::stack_t { ss_sp: memory.as_ptr(), ss_flags: 0, ss_size: bytes.get() };
    // SAFETY: the memory is never unmapped, so it is there whenever a signal comes, and nothing else uses it.
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
}

/// Whether this thread is the one to report. Ends the process if it is at it already, and does not return while another
/// thread is.
fn begin() -> bool {
    let this = gettid().as_raw();
    match REPORTER.compare_exchange(0, this, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {
            // SAFETY: `give_up` is a function of this module made for it.
            let _ = unsafe { nix::sys::signal::signal(Signal::SIGALRM, SigHandler::Handler(give_up)) };
            nix::unistd::alarm::set(ALARM_SECONDS);
            true
        }
        Err(reporter) if reporter == this => false,
        Err(_) => loop {
            // The reporter ends the process, or its alarm does.
            std::thread::sleep(Duration::from_secs(1));
        },
    }
}

extern "C" fn give_up(_: libc::c_int) {
    end_by(Signal::SIGABRT);
}

/// Ends the process by this signal's default action, so that the exit status and a core file tell the truth.
fn end_by(signal: Signal) -> ! {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    let _ = unsafe { sigaction(signal, &default) };
    let mut unblocked = SigSet::empty();
    unblocked.add(signal);
    let _ = unblocked.thread_unblock();
    let _ = raise(signal);
    // A signal that does not end the process by default would get here: none of ours.
    std::process::abort()
}

fn report_panic(panic: &PanicHookInfo<'_>) {
    if !ENABLED.load(Ordering::Relaxed) {
        if let Some(hook) = DEFAULT_PANIC_HOOK.get() {
            hook(panic);
        }
        end_by(Signal::SIGABRT);
    }
    if begin() {
        let place = panic.location().map_or_else(String::new, |location| format!(" at {location}"));
        let message = panic.payload_as_str().unwrap_or("(no message)");
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        report(&[format!("Spinel {} panicked{place}, thread '{thread}': {message}", env!("CARGO_PKG_VERSION"))]);
    }
    end_by(Signal::SIGABRT);
}

extern "C" fn report_signal(number: libc::c_int, information: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let signal = Signal::try_from(number).unwrap_or(Signal::SIGABRT);
    if begin() {
        // SAFETY: with SA_SIGINFO the kernel passes a valid structure.
        let information = unsafe { &*information };
        let version = env!("CARGO_PKG_VERSION");
        let code = information.si_code;
        let mut lines = vec![format!("Spinel {version} crashed by signal: {number} ({signal}), si_code: {code}")];
        if code <= 0 {
            // SAFETY: codes up to zero come from processes, and then the sender's fields are set.
            let (process, user) = unsafe { (information.si_pid(), information.si_uid()) };
            lines.push(format!("Sent by the process {process} of the user {user}"));
        } else if signal != Signal::SIGABRT {
            // SAFETY: codes above zero come from the kernel, which sets the address for all signals of ours but SIGABRT.
            lines.push(format!("Accessing address: {:p}", unsafe { information.si_addr() }));
        }
        report(&lines);
    }
    end_by(signal);
}

/// DEBUG SEGFAULT, PANIC, ASSERT and OOM: crashes on purpose, so that reports and failovers can be tried.
pub fn provoke(kind: &str) -> ! {
    match kind.to_ascii_lowercase().as_str() {
        // A null pointer is what real ones trip over, but the compiler knows it: go by the signal itself.
        "segfault" => {
            let _ = raise(Signal::SIGSEGV);
        }
        "oom" => std::alloc::handle_alloc_error(std::alloc::Layout::new::<u8>()),
        _ => {}
    }
    panic!("crash on purpose: DEBUG {kind}")
}

/// Writes the report, what matters most first.
fn report(what: &[String]) {
    let Some(log) = LOG.get() else { return };
    log.write_raw("\n\n=== SPINEL BUG REPORT START: please copy everything from here to the END line ===\n");
    for line in what {
        log.write(LogLevel::Warning, line);
    }
    log.write_raw("\n------ COMMAND IN EXECUTION ------\n");
    log.write_raw(&current_command());
    log.write_raw("\n------ STACK TRACE ------\n");
    log.write_raw(&format!("{}\n", Backtrace::force_capture()));
    log.write_raw("\n------ INFO OUTPUT ------\n");
    match INFO.get() {
        Some(info) => log.write_raw(&info().replace("\r\n", "\n")),
        None => log.write_raw("(the server was not running yet)\n"),
    }
    log.write_raw(
        "\n=== SPINEL BUG REPORT END ===\n\n    Something is wrong with Spinel, or with the memory of this machine.\n    \
         Please report it together with the text above and what the server was doing.\n\n",
    );
}

/// The command that this thread executes and who sent it.
fn current_command() -> String {
    let Some(current) = CURRENT.get() else {
        return "none by this thread\n".to_owned();
    };
    // SAFETY: the caller of `executing` vouches for both until the guard is dropped, and that takes the pointers away.
    let (client, arguments) =
        unsafe { (&*current.client, std::slice::from_raw_parts(current.arguments, current.argument_count)) };
    let hide = HIDE_USER_DATA.load(Ordering::Relaxed);
    let mut text = format!(
        "client: id={} addr={} laddr={} fd={} db={} resp={}",
        client.id,
        client.address,
        client.local_address,
        client.fd,
        client.db.load(Ordering::Relaxed),
        client.protocol.load(Ordering::Relaxed),
    );
    // The crash may have happened under this lock.
    if let Some(words) = client.text.try_lock() {
        let _ = match hide {
            true => write!(text, " name=({} bytes) user=({} bytes)", words.name.len(), words.user.len()),
            false => write!(text, " name={} user={}", words.name.escape_ascii(), words.user.escape_ascii()),
        };
    }
    let _ = write!(text, "\nargc: {}\n", arguments.len());
    // A name that no command has says nothing about what follows.
    let command = REGISTRY.get().and_then(|registry| registry.resolve(arguments).ok());
    for (index, argument) in arguments.iter().take(ARGUMENTS_SHOWN_MAX).enumerate() {
        // The command's name is not the user's data.
        let _ = if hide && index > 0 {
            writeln!(text, "argv[{index}]: {} bytes", argument.len())
        } else {
            let argument = command.map_or(*argument, |command| shown_arg(command, arguments, index));
            let shown = &argument[..argument.len().min(ARGUMENT_BYTES_SHOWN_MAX)];
            let more = if shown.len() < argument.len() { "..." } else { "" };
            writeln!(text, "argv[{index}]: \"{}\"{more}", shown.escape_ascii())
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::testing::{Child, client};
    use std::os::unix::process::ExitStatusExt;

    fn crash_as(name: &str, crash: fn()) {
        if !Child::is_one(name) {
            return;
        }
        install(&crate::operation::LOG);
        set_hide_user_data(!name.contains("open"));
        set_enabled(!name.contains("disabled"));
        set_info(|| "# Server\r\nredis_version:8.2.0\r\n".to_owned());
        let client = client(7);
        set_registry(Arc::default());
        let arguments: [&[u8]; 3] = match name.contains("password") {
            true => [b"AUTH", b"user", b"password"],
            false => [b"SET", b"se\x01cret", &[b'x'; 200]],
        };
        // SAFETY: both live to the end of this function, like the guard.
        let _executing = unsafe { executing(&client, &arguments) };
        crash();
    }

    // Not tests by themselves: what the child processes of the tests below do.

    #[test]
    fn child_that_panics() {
        crash_as("panic", || panic!("what a day"));
    }

    #[test]
    fn child_that_panics_openly() {
        crash_as("panic-open", || panic!("what a day"));
    }

    #[test]
    fn child_that_panics_with_a_password() {
        crash_as("panic-open-password", || panic!("what a day"));
    }

    #[test]
    fn child_that_panics_disabled() {
        crash_as("panic-disabled", || panic!("what a day"));
    }

    #[test]
    fn child_that_reads_nowhere() {
        crash_as("segfault", || {
            // SAFETY: there is nothing at this address, which is the point.
            unsafe { std::ptr::read_volatile(std::ptr::without_provenance::<u8>(8)) };
        });
    }

    #[test]
    fn child_that_overflows_its_stack() {
        #[allow(unconditional_recursion)]
        fn deeper(depth: &mut u64) {
            let mut next = *depth + 1;
            deeper(&mut next);
            *depth = next;
        }
        crash_as("overflow", || deeper(&mut 0));
    }

    #[test]
    fn child_that_crashes_while_it_reports() {
        crash_as("twice", || {
            // INFO is set already, so the second crash has to come from somewhere else: a signal in the middle.
            assert!(begin());
            panic!("again");
        });
    }

    fn run(test: &str, name: &str) -> (String, std::process::ExitStatus) {
        Child::start(&format!("operation::crash::tests::{test}"), name).output()
    }

    #[test]
    fn a_panic_is_reported_with_command_stack_and_info() {
        let (output, status) = run("child_that_panics", "panic");
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{output}");
        for text in [
            "=== SPINEL BUG REPORT START",
            "what a day",
            "client: id=7 addr=127.0.0.1:1",
            "argc: 3",
            "argv[0]: \"SET\"",
            "argv[1]: 7 bytes",
            "argv[2]: 200 bytes",
            "child_that_panics",
            "redis_version:8.2.0",
            "=== SPINEL BUG REPORT END",
        ] {
            assert!(output.contains(text), "no {text:?} in {output}");
        }
    }

    #[test]
    fn arguments_are_shown_where_user_data_may_be() {
        let (output, _) = run("child_that_panics_openly", "panic-open");
        assert!(output.contains("argv[1]: \"se\\x01cret\""), "{output}");
        assert!(output.contains("xxx\"..."), "{output}");
    }

    #[test]
    fn passwords_are_never_shown() {
        let (output, _) = run("child_that_panics_with_a_password", "panic-open-password");
        assert!(output.contains("argv[2]: \"(redacted)\"") && output.contains("argv[0]: \"AUTH\""), "{output}");
    }

    #[test]
    fn without_reports_a_panic_still_ends_the_process() {
        let (output, status) = run("child_that_panics_disabled", "panic-disabled");
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{output}");
        assert!(!output.contains("BUG REPORT"), "{output}");
    }

    #[test]
    fn a_bad_access_is_reported_and_ends_by_its_signal() {
        let (output, status) = run("child_that_reads_nowhere", "segfault");
        assert_eq!(status.signal(), Some(Signal::SIGSEGV as i32), "{output}");
        for text in
            ["crashed by signal: 11 (SIGSEGV)", "Accessing address: 0x8", "argv[0]", "child_that_reads", "REPORT END"]
        {
            assert!(output.contains(text), "no {text:?} in {output}");
        }
    }

    #[test]
    fn a_stack_overflow_is_reported() {
        let (output, status) = run("child_that_overflows_its_stack", "overflow");
        assert_eq!(status.signal(), Some(Signal::SIGSEGV as i32), "{output}");
        assert!(output.contains("crashed by signal: 11") && output.contains("REPORT END"), "{output}");
    }

    #[test]
    fn a_crash_in_a_report_ends_at_once() {
        let (output, status) = run("child_that_crashes_while_it_reports", "twice");
        assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{output}");
    }

    #[test]
    fn nested_commands_are_restored() {
        let client = client(7);
        let outer: [&[u8]; 1] = [b"EXEC"];
        let inner: [&[u8]; 1] = [b"GET"];
        {
            // SAFETY: client and arguments outlive the guards.
            let _outer = unsafe { executing(&client, &outer) };
            {
                // SAFETY: as above.
                let _inner = unsafe { executing(&client, &inner) };
                assert!(current_command().contains("GET"));
            }
            assert!(current_command().contains("EXEC"));
        }
        assert_eq!(current_command(), "none by this thread\n");
    }
}
