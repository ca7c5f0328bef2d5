//! How soon an automatic rewrite is tried again after it has failed, as in Redis: the third failure in a row, and each after it,
//! puts the next one off, by one minute first, then by twice as long each time, by an hour at most. What a client asks for is never
//! put off, and one without which writes are refused by a second.

use std::time::Duration;

const FAILURES_FREE: u32 = 3;
const MINUTES_MAX: u64 = 60;
/// One that is needed is tried again after this.
const NEEDED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Counts failures in a row.
#[derive(Clone, Debug, Default)]
pub struct RewriteLimit {
    failures: u32,
    delay_minutes: u64,
    not_before: Duration,
    failed_at: Duration,
}

impl RewriteLimit {
    /// `aof_rewrites_consecutive_failures`.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub fn succeeded(&mut self) {
        *self = RewriteLimit::default();
    }

    /// Another failure, at `now` on any clock that does not go back; for how many minutes the next rewrite is put off, if it is.
    pub fn failed(&mut self, now: Duration) -> Option<u64> {
        self.failures += 1;
        self.failed_at = now;
        if self.failures < FAILURES_FREE {
            return None;
        }
        self.delay_minutes = (self.delay_minutes * 2).clamp(1, MINUTES_MAX);
        self.not_before = now + Duration::from_secs(self.delay_minutes * 60);
        Some(self.delay_minutes)
    }

    /// Whether a rewrite that nobody asked for may begin.
    pub fn allows(&self, now: Duration) -> bool {
        now >= self.not_before
    }

    /// Whether one may begin without which writes are refused: nobody can wait for that longer than for the disk.
    pub fn allows_needed(&self, now: Duration) -> bool {
        self.failures < FAILURES_FREE || now >= self.failed_at + NEEDED_AGAIN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_an_hour_and_end_with_success() {
        let mut limit = RewriteLimit::default();
        let mut now = Duration::from_secs(5);
        let delays: Vec<_> = (0..10)
            .map(|_| {
                now += Duration::from_secs(1);
                limit.failed(now)
            })
            .collect();
        let minutes = [1, 2, 4, 8, 16, 32, 60, 60].map(Some);
        assert_eq!(delays, [&[None, None], minutes.as_slice()].concat());
        assert!(!limit.allows(now + Duration::from_secs(3599)) && limit.allows(now + Duration::from_secs(3600)));
        assert!(!limit.allows_needed(now) && limit.allows_needed(now + Duration::from_secs(1)));
        limit.succeeded();
        assert!(limit.allows(now) && limit.failures() == 0);
    }
}
