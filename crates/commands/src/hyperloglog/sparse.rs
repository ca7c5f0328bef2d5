//! Sparse registers: runs of equal ones.
//!
//! ```text
//! 00 xxxxxx            ZERO   x + 1 registers are 0 (1 to 64)
//! 01 xxxxxx xxxxxxxx   XZERO  the same, 14 bits (1 to 16,384), high byte first
//! 1 vvvvv nn           VAL    n + 1 registers are v + 1 (1 to 4 of 1 to 32)
//! ```
//!
//! Which runs stand for the same registers is a matter of history; it is Redis's history, so that the same elements make
//! the same bytes: a run that changes is split in place, and then [neighbours are joined](join) within a few steps.

use super::{REGISTERS, Registers};

/// The largest value of a run.
pub const VALUE_MAX: u8 = 32;

/// How many runs a change looks at to join them.
const JOIN_STEPS: usize = 5;

/// The runs do not add up to all registers, or there is none where a register should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// A run of registers, and the bytes it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// 0 for ZERO and XZERO.
    pub value: u8,
    pub len: usize,
    pub bytes: usize,
}

impl Run {
    /// The run at the beginning of `runs`, which is not empty. A second byte that is missing counts as 0.
    fn decode(runs: &[u8]) -> Run {
        let first = runs[0];
        if first & 0x80 != 0 {
            return Run { value: (first >> 2 & 0x1F) + 1, len: usize::from(first & 3) + 1, bytes: 1 };
        }
        let len = usize::from(first & 0x3F);
        if first & 0x40 == 0 {
            return Run { value: 0, len: len + 1, bytes: 1 };
        }
        let second = runs.get(1).copied().unwrap_or(0);
        Run { value: 0, len: (len << 8 | usize::from(second)) + 1, bytes: 2 }
    }

    /// Adds the run at the end of `runs`.
    fn encode(value: u8, len: usize, runs: &mut impl Extend<u8>) {
        match (value, len) {
            (_, 0) => {}
            (0, 1..=64) => runs.extend([(len - 1) as u8]),
            (0, _) => runs.extend([0x40 | ((len - 1) >> 8) as u8, (len - 1) as u8]),
            _ => runs.extend([0x80 | (value - 1) << 2 | (len - 1) as u8]),
        }
    }
}

/// All runs, in order.
pub fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Run> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let run = Run::decode(bytes);
        bytes = &bytes[run.bytes.min(bytes.len())..];
        Some(run)
    })
}

/// One run of zeros.
pub const EMPTY: [u8; 2] = [0x40 | ((REGISTERS - 1) >> 8) as u8, (REGISTERS - 1) as u8];

/// Raises all registers to what these runs have.
///
/// # Errors
/// If they are not exactly all registers; some may have been raised.
pub fn merge(registers: &mut Registers, bytes: &[u8]) -> Result<(), Corrupt> {
    let mut at = 0;
    for run in runs(bytes) {
        let part = registers.get_mut(at..at + run.len).ok_or(Corrupt)?;
        if run.value > 0 {
            part.iter_mut().for_each(|register| *register = (*register).max(run.value));
        }
        at += run.len;
    }
    if at == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// What became of an attempt to raise a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It has the value, or more.
    No,
    Yes,
    /// The value is too large for a run, or the runs would take too many bytes: nothing was changed.
    NotHere,
}

/// Makes a register at least this value. The runs begin at `start` of `sketch`, whose length may grow up to `bytes_max`.
///
/// # Errors
/// If the runs end before the register.
pub fn raise(sketch: &mut Vec<u8>, start: usize, index: usize, value: u8, bytes_max: usize) -> Result<Raised, Corrupt> {
    if value > VALUE_MAX {
        return Ok(Raised::NotHere);
    }
    let (mut at, mut before, mut first) = (start, start, 0);
    let run = loop {
        if at >= sketch.len() {
            return Err(Corrupt);
        }
        let run = Run::decode(&sketch[at..]);
        if index < first + run.len {
            break run;
        }
        (before, at, first) = (at, at + run.bytes, first + run.len);
    };
    if run.value >= value {
        return Ok(Raised::No);
    }
    let mut parts = smallvec::SmallVec::<[u8; 8]>::new();
    Run::encode(run.value, index - first, &mut parts);
    Run::encode(value, 1, &mut parts);
    Run::encode(run.value, first + run.len - index - 1, &mut parts);
    if parts.len() > run.bytes && sketch.len() + parts.len() - run.bytes > bytes_max {
        return Ok(Raised::NotHere);
    }
    let end = sketch.len().min(at + run.bytes);
    sketch.splice(at..end, parts);
    join(sketch, before);
    Ok(Raised::Yes)
}

/// Joins runs of the same value, from the one before the change on.
fn join(sketch: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_STEPS {
        let [this, next, ..] = sketch[at.min(sketch.len())..] else {
            return;
        };
        let run = Run::decode(&sketch[at..]);
        if run.value > 0 && next & 0x80 != 0 {
            let next = Run::decode(&[next]);
            if next.value == run.value && run.len + next.len <= 4 {
                sketch[at] = this + next.len as u8;
                sketch.remove(at + 1);
                continue;
            }
        }
        at += run.bytes;
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    fn raised(bytes: &mut Vec<u8>, index: usize, value: u8) -> Raised {
        raise(bytes, 0, index, value, usize::MAX).unwrap()
    }

    #[test]
    fn splits_and_joins() {
        let mut bytes = EMPTY.to_vec();
        assert_eq!(raised(&mut bytes, 100, 3), Raised::Yes);
        assert_eq!(bytes, [0x40, 99, 0x80 | 2 << 2, 0x40 | 63, 0x9A]);
        assert_eq!(raised(&mut bytes, 100, 2), Raised::No);
        assert_eq!(raised(&mut bytes, 102, 3), Raised::Yes);
        assert_eq!(bytes[2..5], [0x88, 0, 0x88]);
        assert_eq!(raised(&mut bytes, 101, 3), Raised::Yes);
        assert_eq!(bytes[..3], [0x40, 99, 0x88 | 2]);
        assert_eq!(raised(&mut bytes, 101, 4), Raised::Yes);
        assert_eq!(bytes[2..5], [0x88, 0x8C, 0x88]);
        assert_eq!(raised(&mut bytes, 0, 33), Raised::NotHere);
        assert_eq!(raise(&mut bytes, 0, 50, 1, 7), Ok(Raised::NotHere));
        assert_eq!(raise(&mut vec![0x00], 0, 1, 1, 7), Err(Corrupt));
    }

    #[test]
    fn runs_that_do_not_add_up() {
        for bytes in [&[][..], &[0x40, 1], &[0x7F], &[0x7F, 0xFF, 0], &[0x7F, 0xFF, 0x80]] {
            assert_eq!(merge(&mut [0; REGISTERS], bytes), Err(Corrupt), "{bytes:?}");
        }
        assert_eq!(merge(&mut [0; REGISTERS], &EMPTY), Ok(()));
    }

    #[test]
    fn equal_to_plain_registers() {
        let seed = rand::rng().random();
        println!("seed {seed}");
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut expected = [0; REGISTERS];
        let mut bytes = EMPTY.to_vec();
        for _ in 0..3000 {
            // Crowded, so that runs meet.
            let (index, value) = (random.random_range(0..REGISTERS / 8), random.random_range(1..4));
            let more = expected[index] < value;
            assert_eq!(raised(&mut bytes, index, value), if more { Raised::Yes } else { Raised::No });
            expected[index] = expected[index].max(value);
        }
        let mut merged = [0; REGISTERS];
        assert_eq!(merge(&mut merged, &bytes), Ok(()));
        assert_eq!(merged, expected);
    }
}
