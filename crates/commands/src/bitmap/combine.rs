//! What BITOP computes, over texts of any lengths: a text that has ended counts as zeros.

/// The operations. Of those that tell the first text (X) from the others (Y), each wants at least two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// In X, and in no Y.
    Diff,
    /// In a Y, and not in X.
    Diff1,
    /// In X, and in a Y.
    AndOr,
    /// In exactly one of all.
    One,
}

impl Operation {
    pub const ALL: [(Operation, &'static str); 8] = [
        (Operation::And, "AND"),
        (Operation::Or, "OR"),
        (Operation::Xor, "XOR"),
        (Operation::Not, "NOT"),
        (Operation::Diff, "DIFF"),
        (Operation::Diff1, "DIFF1"),
        (Operation::AndOr, "ANDOR"),
        (Operation::One, "ONE"),
    ];
}

/// Small enough that a block of the result stays in the first cache while all texts are folded into it.
const BLOCK_BYTES: usize = 8 * 1024;

/// The operation over these texts (for NOT, over the first), as long as the longest, in `buffer`, whose contents do not matter: block by
/// block, so that memory is read once and written once however many texts there are.
///
/// # Panics
/// If there is no text.
pub fn combine(operation: Operation, texts: &[&[u8]], mut buffer: Vec<u8>) -> Vec<u8> {
    let len = texts.iter().map(|text| text.len()).max().expect("at least one text");
    buffer.clear();
    buffer.reserve_exact(len);
    let wide = has_avx2();
    let mut start = 0;
    while start < len {
        let end = len.min(start + BLOCK_BYTES);
        // The first text is copied to where the result will be, and the others meet it there.
        let [first, others @ ..] = texts else { unreachable!("at least one text") };
        buffer.extend_from_slice(part(first, start, end));
        buffer.resize(end, 0);
        let block = &mut buffer[start..end];
        let others = others.iter().map(|text| part(text, start, end));
        #[cfg(target_arch = "x86_64")]
        if wide {
            // SAFETY: the feature is there.
            unsafe { fold_with_avx2(operation, block, others) };
            start = end;
            continue;
        }
        debug_assert!(!wide);
        fold(operation, block, others);
        start = end;
    }
    buffer
}

fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// What a text has between two places.
fn part(text: &[u8], start: usize, end: usize) -> &[u8] {
    &text[start.min(text.len())..end.min(text.len())]
}

/// The same loops, compiled for wider registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fold_with_avx2<'a>(operation: Operation, block: &mut [u8], others: impl Iterator<Item = &'a [u8]> + Clone) {
    fold(operation, block, others);
}

/// Makes the block, which holds X, the result. The others are no longer than it.
#[inline(always)]
fn fold<'a>(operation: Operation, block: &mut [u8], others: impl Iterator<Item = &'a [u8]> + Clone) {
    match operation {
        Operation::Not => block.iter_mut().for_each(|byte| *byte = !*byte),
        Operation::And => others.for_each(|other| {
            each(block, other, |byte, other| *byte &= other);
            block[other.len()..].fill(0);
        }),
        Operation::Or => others.for_each(|other| each(block, other, |byte, other| *byte |= other)),
        Operation::Xor => others.for_each(|other| each(block, other, |byte, other| *byte ^= other)),
        Operation::Diff => others.for_each(|other| each(block, other, |byte, other| *byte &= !other)),
        Operation::Diff1 => {
            let any = any(others);
            each(block, &any, |byte, any| *byte = any & !*byte);
        }
        Operation::AndOr => {
            let any = any(others);
            each(block, &any, |byte, any| *byte &= any);
        }
        Operation::One => {
            // The block holds what was seen in exactly one text so far; what was seen in more is kept beside it.
            let mut more = [0; BLOCK_BYTES];
            for other in others {
                for ((byte, more), other) in block.iter_mut().zip(&mut more).zip(other) {
                    *more |= *byte & other;
                    *byte = (*byte ^ other) & !*more;
                }
            }
        }
    }
}

/// What is set in any of the texts.
#[inline(always)]
fn any<'a>(texts: impl Iterator<Item = &'a [u8]>) -> [u8; BLOCK_BYTES] {
    let mut any = [0; BLOCK_BYTES];
    texts.for_each(|text| each(&mut any, text, |any, byte| *any |= byte));
    any
}

#[inline(always)]
fn each(block: &mut [u8], other: &[u8], change: impl Fn(&mut u8, u8)) {
    block.iter_mut().zip(other).for_each(|(byte, other)| change(byte, *other));
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    /// One byte of the result by the words of the documentation.
    fn expected(operation: Operation, bytes: &[u8]) -> u8 {
        let (x, y) = (bytes[0], bytes[1..].iter().fold(0, |all, byte| all | byte));
        match operation {
            Operation::And => bytes.iter().fold(0xFF, |all, byte| all & byte),
            Operation::Or => x | y,
            Operation::Xor => bytes.iter().fold(0, |all, byte| all ^ byte),
            Operation::Not => !x,
            Operation::Diff => x & !y,
            Operation::Diff1 => y & !x,
            Operation::AndOr => x & y,
            Operation::One => (0..8).fold(0, |all, bit| {
                let seen = bytes.iter().filter(|byte| *byte >> bit & 1 == 1).count();
                all | u8::from(seen == 1) << bit
            }),
        }
    }

    #[test]
    fn texts_of_all_lengths() {
        let seed = rand::rng().random();
        println!("seed {seed}");
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        for _ in 0..300 {
            let texts: Vec<Vec<u8>> = (0..random.random_range(1..6))
                .map(|_| {
                    let len = match random.random_range(0..4) {
                        0 => random.random_range(0..10),
                        1 => BLOCK_BYTES + random.random_range(0..3) - 1,
                        _ => random.random_range(0..3 * BLOCK_BYTES),
                    };
                    (0..len).map(|_| random.random::<u8>() & random.random::<u8>()).collect()
                })
                .collect();
            let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_slice()).collect();
            let len = texts.iter().map(|text| text.len()).max().unwrap();
            for (operation, name) in Operation::ALL {
                let texts = if operation == Operation::Not { &texts[..1] } else { &texts };
                let len = if operation == Operation::Not { texts[0].len() } else { len };
                let result = combine(operation, texts, vec![7; random.random_range(0..100)]);
                assert_eq!(result.len(), len);
                for (at, byte) in result.iter().enumerate() {
                    let bytes: Vec<u8> = texts.iter().map(|text| text.get(at).copied().unwrap_or(0)).collect();
                    assert_eq!(*byte, expected(operation, &bytes), "{name} at {at} of {len}");
                }
            }
        }
    }
}
