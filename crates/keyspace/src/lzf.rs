//! LZF: the compression of nodes in the middle of lists, and of texts in RDB files.
//!
//! ```text
//! 000lllll text              l + 1 bytes as they are
//! lllooooo oooooooo          l + 2 bytes (l from 1 to 6) that were there o + 1 bytes ago
//! 111ooooo llllllll oooooooo l + 9 bytes that were there o + 1 bytes ago
//! ```
//!
//! The format is LibLZF's (oldhome.schmorp.de/marc/liblzf.html). It is so small that the crates for it are not kept up.

const OFFSET_MAX: usize = 1 << 13;
const MATCH_LEN_MIN: usize = 3;
const MATCH_LEN_MAX: usize = 264;
const LITERALS_MAX: usize = 32;
const HASH_BITS: u32 = 12;

/// The compressed bytes, if they are at most `bytes_max`.
pub fn compress(input: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    // Places of three bytes, plus one: 0 is none.
    let mut seen = [0u32; 1 << HASH_BITS];
    let mut output = Vec::with_capacity(bytes_max);
    let (mut at, mut literals) = (0, 0);
    while at + MATCH_LEN_MIN <= input.len() {
        let three = u32::from_le_bytes([input[at], input[at + 1], input[at + 2], 0]);
        let before = &mut seen[(three.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize];
        let from = std::mem::replace(before, at as u32 + 1) as usize;
        if from == 0 || at + 1 - from > OFFSET_MAX || input[from - 1..from + 2] != input[at..at + MATCH_LEN_MIN] {
            at += 1;
            continue;
        }
        let from = from - 1;
        let len_max = MATCH_LEN_MAX.min(input.len() - at);
        let same = |len: &usize| input[from + len] == input[at + len];
        let len = (MATCH_LEN_MIN..len_max).take_while(same).last().map_or(MATCH_LEN_MIN, |last| last + 1);
        put_literals(&mut output, &input[literals..at]);
        let (offset, code) = (at - from - 1, len - 2);
        if code < 7 {
            output.push((code << 5 | offset >> 8) as u8);
        } else {
            output.extend([(7 << 5 | offset >> 8) as u8, (code - 7) as u8]);
        }
        output.push(offset as u8);
        if output.len() > bytes_max {
            return None;
        }
        at += len;
        literals = at;
    }
    put_literals(&mut output, &input[literals..]);
    (output.len() <= bytes_max).then_some(output)
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
