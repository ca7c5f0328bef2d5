//! Who goes first when more threads want to run than there are cores.
//!
//! Linux (6.12 and later) lets a thread say for how long at a time it wants to run. Who wants little goes before who wants much, at once: that is
//! what event loops ask for. Threads that work for long ask for somewhat more, but not for much: the kernel refuses to a thread that is woken just after it has
//! had a little more than its share, and then lets whoever runs go on to the end of its slice, or to the next tick, 4 ms later by the usual
//! configuration. So they also ask by themselves, every now and then, whether somebody else wants their core ([`breathe`]).

use std::cell::Cell;
use std::time::Duration;

use super::clock::Tick;

/// How much nicer than event loops helpers are: where both want a core, a loop gets three times as much of it. (With 10, nine times as much, no reply came sooner,
/// and a snapshot on a busy machine took twice as long.)
const HELPERS_NICENESS: i32 = 5;
/// The least that the kernel takes.
const SLICE_OF_LOOPS: Duration = Duration::from_micros(100);
const SLICE_OF_HELPERS: Duration = Duration::from_micros(300);
/// How long helpers work before they look whether somebody else wants their core.
const BREATH: Duration = Duration::from_micros(150);

/// For event loops: they have little to do at a time, and somebody waits for it.
pub fn come_first() {
    ask_for(libc::SCHED_OTHER, SLICE_OF_LOOPS);
}

/// For threads that have much to do now and then: whoever else wakes is not held up.
pub fn give_way() {
    ask_for(libc::SCHED_OTHER, SLICE_OF_HELPERS);
}

/// For threads that do in the background what nobody waits for by the millisecond: writing snapshots, loading them, freeing what is large. Where
/// cores are free it changes nothing.
pub fn step_back() {
    // Who may not even do that goes on as before.
    let _ = rustix::process::nice(HELPERS_NICENESS);
    ask_for(libc::SCHED_BATCH, SLICE_OF_HELPERS);
}

thread_local! {
    /// When this thread last did.
    static BREATHED: Cell<Option<Tick>> = const { Cell::new(None) };
}

/// For all who have given way or stepped back, between two pieces of work, where they hold nothing that others wait for: who was woken goes first.
#[inline]
pub fn breathe() {
    let now = Tick::now();
    let last = BREATHED.get();
    if last.is_none_or(|last| now.ns_since(last) >= BREATH.as_nanos() as u64) {
        BREATHED.set(Some(now));
        if last.is_some() {
            std::thread::yield_now();
        }
    }
}

/// Without privileges, and without effect on older kernels. Who was given another policy from outside keeps that.
fn ask_for(policy: i32, slice: Duration) {
    // SAFETY: plain system calls about this thread; the structure is as long as it says.
    unsafe {
        if libc::sched_getscheduler(0) != libc::SCHED_OTHER {
            return;
        }
        let mut wanted: libc::sched_attr = std::mem::zeroed();
        wanted.size = size_of::<libc::sched_attr>() as u32;
        wanted.sched_policy = policy as u32;
        wanted.sched_nice = libc::getpriority(libc::PRIO_PROCESS, 0);
        wanted.sched_runtime = slice.as_nanos() as u64;
        libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0);
    }
}
