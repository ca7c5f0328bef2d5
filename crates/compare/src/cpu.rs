//! What a server process costs: CPU time, its user part, system calls; and which cores it may use.
//!
//! - CPU time comes from the process's CPU clock: nanoseconds, all threads, those that ended too. `/proc/PID/stat` counts the same
//!   in ticks of 10 ms, and `schedstat` forgets threads that ended.
//! - The split into user and kernel time is another matter: kernels without exact accounting guess it from 250 samples a second, a
//!   few per cent of error for one run. Where perf events are allowed it is sampled here at 4 kHz; else the guess is taken.
//! - System calls are counted with a tracepoint, not with strace: a traced server is so slow that more requests wait for it at each
//!   wake-up, and its calls per request look better than they are.

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use perf_event::events::{Software, Tracepoint};
use perf_event::{Builder, Counter, Sampler};
use std::fs;
use std::time::Duration;

/// Niceness of what is measured and of the load, where that is allowed: a build beside them should not sit between two requests.
const NICENESS: i32 = -15;
const SAMPLES_PER_SECOND: u64 = 4_000;
/// A sample takes 8 bytes, so 8 s fit. A longer run loses the samples after that, which leaves a fair share all the same.
const SAMPLE_RING_BYTES: usize = 1 << 18;
/// `PERF_RECORD_SAMPLE` and the bits of a record's `misc` that say where the CPU was (linux/perf_event.h).
const RECORD_SAMPLE: u32 = 9;
const MISC_CPU_MODE_MASK: u16 = 7;
const MISC_KERNEL: u16 = 1;
const MISC_USER: u16 = 2;

/// The cores a measurement plays on.
#[derive(Debug, Clone)]
pub struct Cores {
    allowed: Vec<usize>,
}

impl Cores {
    /// The cores this process may use, before it has pinned itself.
    pub fn allowed() -> Result<Cores> {
        let set = sched_getaffinity(Pid::from_raw(0))?;
        let allowed: Vec<usize> = (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect();
        if allowed.len() < 2 {
            bail!("a comparison needs two cores: one for the server, one for the load");
        }
        Ok(Cores { allowed })
    }

    pub fn count(&self) -> usize {
        self.allowed.len()
    }

    /// Servers that are measured on one core run here, one after the other.
    pub fn server(&self) -> &[usize] {
        &self.allowed[..1]
    }

    /// Servers measured with two event loops: the load generator shares one of these cores.
    pub fn pair(&self) -> &[usize] {
        &self.allowed[..2]
    }

    pub fn load(&self) -> &[usize] {
        &self.allowed[1..2]
    }
}

/// Pins this thread, and raises its priority.
pub fn pin_self(cores: &[usize]) -> Result<()> {
    pin_thread(0, cores)
}

/// Pins all threads of a process and raises their priority; those it makes later inherit both.
pub fn pin_process(pid: u32, cores: &[usize]) -> Result<()> {
    // A thread that starts while the list is read is found by the second look.
    for _ in 0..2 {
        for thread in threads(pid)? {
            pin_thread(thread, cores)?;
        }
    }
    Ok(())
}

/// Puts this thread before all others that are measured or load: one that watches must not wait for those.
pub fn raise_self() {
    // Without the privilege it stays as it is.
    let _ = rustix::process::setpriority_process(None, NICENESS - 5);
}

fn pin_thread(thread: i32, cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    sched_setaffinity(Pid::from_raw(thread), &set).context("pinning a thread")?;
    // Without the privilege it stays as it is, for all alike.
    let _ = rustix::process::setpriority_process(rustix::process::Pid::from_raw(thread), NICENESS);
    Ok(())
}

fn threads(pid: u32) -> Result<Vec<i32>> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .with_context(|| format!("threads of process {pid}"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?))
        .collect()
}

/// CPU time of one process between [`CpuMeter::start`] and [`CpuMeter::stop`].
pub struct CpuMeter {
    pid: u32,
    clock: ClockId,
    started: Duration,
    ticks_started: (u64, u64),
    samplers: Vec<Sampler>,
}

/// See [`CpuMeter`].
#[derive(Debug, Clone, Copy)]
pub struct CpuTime {
    pub total: Duration,
    pub user: Duration,
}

impl CpuMeter {
    pub fn start(pid: u32) -> Result<CpuMeter> {
        let clock = clock_getcpuclockid(Pid::from_raw(pid as i32))?;
        // Without permission (`perf_event_paranoid`) there are no samplers, and the kernel's own guess is used.
        let samplers = threads(pid)?.into_iter().map(sampler).collect::<std::io::Result<Vec<_>>>().unwrap_or_default();
        Ok(CpuMeter { pid, clock, started: clock_gettime(clock)?.into(), ticks_started: ticks(pid)?, samplers })
    }

    pub fn stop(mut self) -> Result<CpuTime> {
        let total = Duration::from(clock_gettime(self.clock)?) - self.started;
        let (mut user, mut kernel) = (0u64, 0u64);
        for sampler in &mut self.samplers {
            while let Some(record) = sampler.next_record() {
                match record.misc() & MISC_CPU_MODE_MASK {
                    _ if record.ty() != RECORD_SAMPLE => {}
                    MISC_USER => user += 1,
                    MISC_KERNEL => kernel += 1,
                    _ => {}
                }
            }
        }
        if user + kernel == 0 {
            let (user_now, kernel_now) = ticks(self.pid)?;
            (user, kernel) = (user_now - self.ticks_started.0, kernel_now - self.ticks_started.1);
        }
        let share = user as f64 / (user + kernel).max(1) as f64;
        Ok(CpuTime { total, user: total.mul_f64(share) })
    }
}

fn sampler(thread: i32) -> std::io::Result<Sampler> {
    Builder::new(Software::CPU_CLOCK)
        .observe_pid(thread)
        .any_cpu()
        .include_kernel()
        .sample_frequency(SAMPLES_PER_SECOND)
        .enabled(true)
        .build()?
        .sampled(SAMPLE_RING_BYTES)
}

/// User and kernel time of `/proc/PID/stat`, in clock ticks.
fn ticks(pid: u32) -> Result<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; fields are counted after it (utime and stime are the 14th and 15th of all).
    let (_, fields) = stat.rsplit_once(") ").context("stat without a name")?;
    let mut fields = fields.split(' ').skip(11);
    let mut next = || -> Result<u64> { Ok(fields.next().context("stat is too short")?.parse()?) };
    Ok((next()?, next()?))
}

/// System calls entered by a process since [`SyscallCounter::start`].
pub struct SyscallCounter {
    counters: Vec<Counter>,
}

impl SyscallCounter {
    /// # Errors
    /// Where tracepoints are not allowed: they need root, or CAP_PERFMON and a mounted tracefs.
    pub fn start(pid: u32) -> Result<SyscallCounter> {
        let id: u64 = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .iter()
            .find_map(|mount| fs::read_to_string(format!("{mount}/events/raw_syscalls/sys_enter/id")).ok())
            .context("no tracepoint for system calls: tracefs is not mounted or not readable")?
            .trim()
            .parse()?;
        let counters = threads(pid)?
            .into_iter()
            .map(|thread| {
                Builder::new(Tracepoint::with_id(id))
                    .observe_pid(thread)
                    .any_cpu()
                    .include_kernel()
                    .enabled(true)
                    .build()
            })
            .collect::<std::io::Result<Vec<_>>>()
            .context("counting system calls")?;
        Ok(SyscallCounter { counters })
    }

    pub fn count(&mut self) -> Result<u64> {
        self.counters.iter_mut().map(|counter| Ok(counter.read()?)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn a_process_that_computes_spends_user_time() {
        let meter = CpuMeter::start(std::process::id()).unwrap();
        let mut state = 1u64;
        while meter.clock_now() < Duration::from_millis(100) {
            for _ in 0..100_000 {
                state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        }
        let time = meter.stop().unwrap();
        assert!(time.total >= Duration::from_millis(100));
        assert!(time.user <= time.total && time.user >= time.total / 4, "{time:?}");
    }

    impl CpuMeter {
        fn clock_now(&self) -> Duration {
            Duration::from(clock_gettime(self.clock).unwrap()) - self.started
        }
    }
}
