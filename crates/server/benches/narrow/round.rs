//! One measurement: some threads, one workload, and the clocks of each thread.

use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use spinel_server::in_process::{Caller, InProcess};

use crate::Options;
use crate::workload::{Workload, fill, random_of};

/// How the threads stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arrangement {
    /// No world at all: the cost of making requests.
    Rehearsal,
    /// One thread.
    Alone,
    /// All threads in one world.
    Together,
    /// All threads, each in a world of its own: what the machine lets them have when they share nothing but it.
    Apart,
}

impl Arrangement {
    /// The arrangements that say something about a workload.
    pub fn of(workload: &Workload) -> &'static [Arrangement] {
        match workload.wide {
            None => &[Self::Rehearsal, Self::Alone, Self::Together, Self::Apart],
            Some(_) => &[Self::Alone, Self::Together],
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Rehearsal => "rehearsal",
            Self::Alone => "alone",
            Self::Together => "together",
            Self::Apart => "apart",
        }
    }
}

/// What one thread's clocks said.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub requests: u64,
    pub wall_ns: u64,
    /// User and system time.
    pub cpu_ns: u64,
    /// Time in which the thread could have run, but others had the core.
    pub delayed_ns: u64,
    /// How often it went to sleep, which is at locks.
    pub sleeps: u64,
    /// How often others took its core.
    pub preemptions: u64,
}

impl Sample {
    /// Wall time on a machine without neighbours: computing, and waiting for other threads of ours.
    pub fn free_ns(&self) -> u64 {
        self.wall_ns.saturating_sub(self.delayed_ns)
    }

    fn since(self, before: Sample) -> Sample {
        Sample {
            requests: self.requests,
            wall_ns: self.wall_ns - before.wall_ns,
            cpu_ns: self.cpu_ns - before.cpu_ns,
            delayed_ns: self.delayed_ns - before.delayed_ns,
            sleeps: self.sleeps - before.sleeps,
            preemptions: self.preemptions - before.preemptions,
        }
    }

    /// The calling thread's clocks.
    fn now(origin: Instant, requests: u64) -> Sample {
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock");
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("Linux knows this");
        // Missing in some kernels: then neighbours count against us.
        let schedule = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let delayed_ns = schedule.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Sample {
            requests,
            wall_ns: origin.elapsed().as_nanos() as u64,
            cpu_ns: cpu.tv_sec() as u64 * 1_000_000_000 + cpu.tv_nsec() as u64,
            delayed_ns,
            sleeps: usage.voluntary_context_switches() as u64,
            preemptions: usage.involuntary_context_switches() as u64,
        }
    }
}

/// The filled worlds, for all rounds.
pub struct Arena<'a> {
    options: &'a Options,
    shared: InProcess,
    own: Vec<InProcess>,
}

impl<'a> Arena<'a> {
    pub fn new(options: &'a Options) -> Arena<'a> {
        let world = |threads, number| InProcess::new(threads, [options.seed, number, 1, 2]);
        let shared = world(options.threads, 0);
        let own: Vec<_> = (0..options.threads).map(|number| world(options.threads, 1 + number as u64)).collect();
        // Each thread makes its part of the shared world and all of its own, from the memory it would have in a server.
        thread::scope(|scope| {
            for (index, own) in own.iter().enumerate() {
                let shared = &shared;
                scope.spawn(move || {
                    fill(&mut shared.caller(index), options.keys, index as u64, options.threads);
                    fill(&mut own.caller(index), options.keys, 0, 1);
                });
            }
        });
        Arena { options, shared, own }
    }

    /// Runs a workload once; one sample a thread.
    pub fn run(&self, arrangement: Arrangement, workload: &Workload, round: usize) -> Vec<Sample> {
        let threads = match arrangement {
            Arrangement::Rehearsal | Arrangement::Alone => 1,
            Arrangement::Together | Arrangement::Apart => self.options.threads,
        };
        let barrier = Barrier::new(threads);
        thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|index| {
                    let barrier = &barrier;
                    scope.spawn(move || self.run_thread(arrangement, workload, round, index, barrier))
                })
                .collect();
            handles.into_iter().map(|handle| handle.join().expect("a thread of the benchmark panicked")).collect()
        })
    }

    fn run_thread(
        &self,
        arrangement: Arrangement,
        workload: &Workload,
        round: usize,
        index: usize,
        barrier: &Barrier,
    ) -> Sample {
        take_core(index);
        let Options { keys, seed, divisor, .. } = *self.options;
        let world = if arrangement == Arrangement::Apart { &self.own[index] } else { &self.shared };
        let mut caller = world.caller(index);
        let mut random = random_of(seed, round, index);
        let requests = workload.requests(divisor);
        let mut run = |caller: &mut Caller<'_>, requests| match arrangement {
            Arrangement::Rehearsal => workload.rehearse(&mut random, keys, requests),
            _ => workload.run(caller, &mut random, keys, requests),
        };
        run(&mut caller, requests / 8);
        let misses = caller.stats().keyspace_misses.get();
        barrier.wait();
        let origin = Instant::now();
        let before = Sample::now(origin, 0);
        run(&mut caller, requests);
        let sample = Sample::now(origin, requests).since(before);
        let stats = caller.stats();
        assert_eq!(stats.error_replies.get(), 0, "a request was refused: {:?}", stats.errors.lock());
        assert_eq!(stats.keyspace_misses.get(), misses, "all keys are there");
        sample
    }
}

/// Gives the calling thread a core of its own, as far as there are so many, and as much of it as may be had.
fn take_core(index: usize) {
    const NICENESS: i32 = -15;
    // SAFETY: changes the priority of the calling thread only. Without the privilege it stays as it is, for all alike.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return };
    let cores: Vec<usize> = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect();
    let mut set = CpuSet::new();
    if let Some(&core) = cores.get(index % cores.len().max(1))
        && set.set(core).is_ok()
    {
        // Unpinned is noisier, not wrong.
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}
