//! Cuts a failing run down to the few steps that matter (delta debugging, Zeller 1999).

use std::time::{Duration, Instant};

/// The shortest list found, within the time, for which `fails` still holds. `fails(steps)` must be true at the start.
pub fn minimise<T: Clone>(steps: &[T], time_max: Duration, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let start = Instant::now();
    let mut steps = steps.to_vec();
    // Most failures need little of what came before: a short tail is the cheapest first guess.
    for length in [1, 10, 100, 1000] {
        if length < steps.len() && fails(&steps[steps.len() - length..]) {
            steps = steps.split_off(steps.len() - length);
            break;
        }
    }
    let mut chunk = steps.len().div_ceil(2);
    while chunk > 0 && start.elapsed() < time_max {
        let mut at = 0;
        let mut removed = false;
        while at < steps.len() && start.elapsed() < time_max {
            let mut rest = steps[..at].to_vec();
            rest.extend_from_slice(&steps[(at + chunk).min(steps.len())..]);
            if !rest.is_empty() && fails(&rest) {
                steps = rest;
                removed = true;
            } else {
                at += chunk;
            }
        }
        if chunk == 1 && !removed {
            break;
        }
        chunk = if chunk == 1 { 1 } else { chunk / 2 };
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_two_that_matter() {
        let steps: Vec<u32> = (0..5000).collect();
        let mut calls = 0;
        let minimal = minimise(&steps, Duration::from_secs(60), |steps| {
            calls += 1;
            steps.contains(&17) && steps.contains(&4801)
        });
        assert_eq!(minimal, [17, 4801]);
        assert!(calls < 200, "{calls} replays");
    }
}
