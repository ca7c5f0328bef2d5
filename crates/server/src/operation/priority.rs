//! Who goes first when more threads want to run than there are cores.
//!
//! Linux (6.12 and later) lets a thread say for how long at a time it wants to run. Who wants little goes before who wants much, at once: that is
//! what event loops ask for, and what threads that work for long grant to everybody.

use std::time::Duration;

/// How much nicer than event loops helpers are: where both want a core, a loop gets nine times as much of it, and gets it at once when a request comes.
const HELPERS_NICENESS: i32 = 10;
/// The least and, but for the last factor of five, the most that the kernel takes.
const SLICE_SHORT: Duration = Duration::from_micros(100);
const SLICE_LONG: Duration = Duration::from_millis(20);

/// For event loops: they have little to do at a time, and somebody waits for it.
pub fn come_first() {
    ask_for(libc::SCHED_OTHER, SLICE_SHORT);
}

/// For threads that have much to do now and then: whoever else wakes is not held up.
pub fn give_way() {
    ask_for(libc::SCHED_OTHER, SLICE_LONG);
}

/// For threads that do in the background what nobody waits for by the millisecond: writing snapshots, loading them, freeing what is large. Where
/// cores are free it changes nothing.
pub fn step_back() {
    // Who may not even do that goes on as before.
    let _ = rustix::process::nice(HELPERS_NICENESS);
    ask_for(libc::SCHED_BATCH, SLICE_LONG);
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
