//! LZF: the compression of nodes in the middle of lists, and of texts in RDB files.
//!
//! ```text
//! 000lllll text              l + 1 bytes as they are
//! lllooooo oooooooo          l + 2 bytes (l from 1 to 6) that were there o + 1 bytes ago
//! 111ooooo llllllll oooooooo l + 9 bytes that were there o + 1 bytes ago
//! ```
//!
//! The format is LibLZF's (oldhome.schmorp.de/marc/liblzf.html). It is so small that the crates for it are not kept up.

use std::cell::RefCell;

const OFFSET_MAX: usize = 1 << 13;
const MATCH_LEN_MIN: usize = 3;
const MATCH_LEN_MAX: usize = 264;
const LITERALS_MAX: usize = 32;
const HASH_BITS: u32 = 12;

/// Where three bytes were last seen, by a hash of them, as [`Seen::base`] plus their place in the text.
///
/// It is used again without being cleared: what is below `base` was of an earlier text. Clearing 16 KiB would cost more than compressing most
/// texts does.
struct Seen {
    places: Box<[u32; 1 << HASH_BITS]>,
    base: u32,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::new(Seen { places: Box::new([0; 1 << HASH_BITS]), base: 1 });
}

/// After so many bytes without a match every second one is looked at, after twice as many every third, and so on.
const PATIENCE_BITS: u32 = 6;

/// The compressed bytes, if they are at most `bytes_max`.
pub fn compress(input: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(bytes_max);
    compress_to(input, bytes_max, &mut output).then_some(output)
}

/// Appends the compressed bytes if they are at most `bytes_max`, else nothing. Says which.
pub fn compress_to(input: &[u8], bytes_max: usize, output: &mut Vec<u8>) -> bool {
    let start = output.len();
    let compressed = SEEN.with_borrow_mut(|seen| compress_with(seen, input, start + bytes_max, output));
    if !compressed {
        output.truncate(start);
    }
    compressed
}

fn compress_with(seen: &mut Seen, input: &[u8], end_max: usize, output: &mut Vec<u8>) -> bool {
    let Ok(len) = u32::try_from(input.len()) else { return false };
    let base = match seen.base.checked_add(len) {
        Some(next) => std::mem::replace(&mut seen.base, next),
        None => {
            seen.places.fill(0);
            // A text of nearly 4 GiB is not worth another word about overflow.
            let Some(next) = len.checked_add(1) else { return false };
            seen.base = next;
            1
        }
    };
    let (mut at, mut literals) = (0, 0);
    // Four bytes are read, of which three count: the last three of the text begin no match.
    while let Some(&four) = input.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let three = u32::from_le_bytes(four) << 8;
        let place = &mut seen.places[(three.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize];
        let before = std::mem::replace(place, base + at as u32);
        // Of an earlier text if it is below the base; then the difference is no place before this one.
        let from = before.wrapping_sub(base) as usize;
        if from >= at || at - from > OFFSET_MAX || three_at(input, from) != three {
            at += 1 + ((at - literals) >> PATIENCE_BITS);
            continue;
        }
        let len = MATCH_LEN_MIN + common_len(input, from + MATCH_LEN_MIN, at + MATCH_LEN_MIN);
        put_literals(output, &input[literals..at]);
        let (offset, code) = (at - from - 1, len - 2);
        if code < 7 {
            output.push((code << 5 | offset >> 8) as u8);
        } else {
            output.extend([(7 << 5 | offset >> 8) as u8, (code - 7) as u8]);
        }
        output.push(offset as u8);
        if output.len() > end_max {
            return false;
        }
        at += len;
        literals = at;
    }
    let rest = &input[literals..];
    if output.len() + rest.len() + rest.len().div_ceil(LITERALS_MAX) > end_max {
        return false;
    }
    put_literals(output, rest);
    true
}

/// Three bytes in the upper part of a word; behind them is at least one more.
#[inline]
fn three_at(input: &[u8], at: usize) -> u32 {
    input[at..].first_chunk::<4>().map_or(0, |four| u32::from_le_bytes(*four) << 8)
}

/// How many bytes from both places on are the same, as far as a match may reach.
#[inline]
fn common_len(input: &[u8], from: usize, at: usize) -> usize {
    let len_max = (MATCH_LEN_MAX - MATCH_LEN_MIN).min(input.len() - at);
    let (one, other) = (&input[from..from + len_max], &input[at..at + len_max]);
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let mut len = 0;
    for (one, other) in words {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let different = word(one) ^ word(other);
        if different != 0 {
            return len + different.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    len + one[len..].iter().zip(&other[len..]).take_while(|(one, other)| one == other).count()
}

fn put_literals(output: &mut Vec<u8>, literals: &[u8]) {
    for part in literals.chunks(LITERALS_MAX) {
        output.push(part.len() as u8 - 1);
        output.extend_from_slice(part);
    }
}

/// The `len` bytes that were compressed. `None` if these are not the compressed form of so many.
pub fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(len);
    let mut at = 0;
    while at < input.len() {
        let code = usize::from(input[at]);
        at += 1;
        if code < LITERALS_MAX {
            output.extend_from_slice(input.get(at..at + code + 1)?);
            at += code + 1;
        } else {
            let mut match_len = (code >> 5) + 2;
            if match_len == 9 {
                match_len += usize::from(*input.get(at)?);
                at += 1;
            }
            let offset = (code & 0x1F) << 8 | usize::from(*input.get(at)?);
            at += 1;
            let from = output.len().checked_sub(offset + 1)?;
            if offset + 1 >= match_len {
                output.extend_from_within(from..from + match_len);
            } else {
                // It overlaps what it makes.
                for index in from..from + match_len {
                    output.push(output[index]);
                }
            }
        }
        if output.len() > len {
            return None;
        }
    }
    (output.len() == len).then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(input: &[u8]) -> usize {
        let compressed = compress(input, input.len() + input.len() / 32 + 1).expect("room for the worst case");
        assert_eq!(decompress(&compressed, input.len()).as_deref(), Some(input));
        compressed.len()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        assert_eq!(round_trip(b""), 0);
        assert_eq!(round_trip(b"ab"), 3);
        assert!(round_trip(&[b'x'; 10_000]) < 200);
        let items: Vec<u8> = (0..2000).flat_map(|number| format!("item:{number:06}").into_bytes()).collect();
        assert!(round_trip(&items) < items.len() / 2);
        // Lengths and distances at which the codes change.
        for len in [3, 4, 8, 9, 10, 263, 264, 265, 266] {
            for gap in [0, 1, 31, 32, 33, 8190, 8191, 8192, 8193] {
                let mut state = len as u64 * 7919 + gap as u64;
                let mut noise = |count: usize| -> Vec<u8> {
                    (0..count)
                        .map(|_| {
                            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                            (state >> 56) as u8
                        })
                        .collect()
                };
                let word = noise(len);
                round_trip(&[&word[..], &noise(gap), &word].concat());
            }
        }
    }

    #[test]
    fn texts_do_not_see_each_other() {
        // The places of one text are not taken for those of the next, also when they begin anew.
        SEEN.with_borrow_mut(|seen| seen.base = u32::MAX - 3000);
        for number in 0..200 {
            round_trip(format!("text {number} with the same words as text {}", number + 1).as_bytes());
            round_trip(b"the same words");
        }
        assert!(SEEN.with_borrow(|seen| seen.base) < 100_000);
    }

    /// What Redis 8.2 wrote into DUMP for 40 times `a`.
    #[test]
    fn the_format() {
        let dumped = [1, b'a', b'a', 0xE0, 0x1B, 0, 1, b'a', b'a'];
        assert_eq!(decompress(&dumped, 40), Some(vec![b'a'; 40]));
        assert_eq!(decompress(&[2, b'a', b'b', b'c', 0x20, 2], 6), Some(b"abcabc".to_vec()));
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&[5, 1][..], &[0x20], &[0x20, 0], &[0xE0], &[0xE0, 1], &[0, b'a', 0x20, 1], &[0, b'a']] {
            assert_eq!(decompress(bytes, 3), None, "{bytes:?}");
        }
        let compressed = compress(&[b'x'; 100], 100).unwrap();
        assert_eq!(decompress(&compressed, 99), None);
        assert_eq!(decompress(&compressed, 101), None);
    }
}
