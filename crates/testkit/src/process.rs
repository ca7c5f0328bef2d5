//! What `/proc` tells about a process: CPU time and memory.

use std::{fs, time::Duration};

/// A process by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

/// CPU time of a process, all its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    pub user: Duration,
    pub system: Duration,
}

impl CpuTime {
    pub fn total(self) -> Duration {
        self.user + self.system
    }

    /// What was used since `earlier`.
    pub fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

impl Process {
    /// CPU time so far, from `/proc/PID/stat`, in clock ticks (10 ms on Linux as usually built).
    pub fn cpu_time(self) -> Option<CpuTime> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        // The second field is the program's name in parentheses, which may hold anything, parentheses too.
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let mut ticks = || Some(Duration::from_secs_f64(fields.next()?.parse::<u64>().ok()? as f64 / ticks_per_second));
        Some(CpuTime { user: ticks()?, system: ticks()? })
    }

    /// Time on the CPU of all threads, in nanoseconds, from `/proc/PID/task/*/schedstat`: finer than [`Self::cpu_time`],
    /// but user and system together, and without threads that have ended.
    pub fn run_time(self) -> Option<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0)).ok()? {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
            total += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
        }
        Some(Duration::from_nanos(total))
    }

    /// Resident memory in bytes (`VmRSS`).
    pub fn resident_bytes(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
        Some(kib.parse::<u64>().ok()? * 1024)
    }

    /// Number of threads.
    pub fn threads(self) -> Option<usize> {
        Some(fs::read_dir(format!("/proc/{}/task", self.0)).ok()?.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_is_readable() {
        let process = Process(std::process::id());
        assert!(process.cpu_time().is_some());
        assert!(process.run_time().is_some());
        assert!(process.resident_bytes().unwrap() > 100_000);
        assert!(process.threads().unwrap() >= 1);
        assert!(Process(u32::MAX).cpu_time().is_none());
    }
}
