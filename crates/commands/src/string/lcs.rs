//! `LCS`.

use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "lcs",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::STRING).union(Acl::SLOW),
    keys: &[KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 1, 1, 1)],
    group: Group::String,
    since: "7.0.0",
    summary: "Finds the longest common subsequence of two strings.",
    complexity: "O(N*M), N and M being the lengths of the two strings",
    args: &[
        Arg::key("key1", 0),
        Arg::key("key2", 0),
        Arg::word("len", "LEN").optional(),
        Arg::word("idx", "IDX").optional(),
        Arg::integer("min-match-len").token("MINMATCHLEN").optional(),
        Arg::word("withmatchlen", "WITHMATCHLEN").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let (first, second) = match (text(cx, 0), text(cx, 1)) {
        (Ok(first), Ok(second)) => (first, second),
        _ => return cx.fail("ERR The specified keys must contain string values"),
    };
    let options = Options::parse(cx)?;
    if options.len && options.indexes {
        return cx.fail("ERR If you want both the length and indexes, please just use IDX.");
    }
    // What Redis's table of lengths would take. Ours takes a 32nd of it, but the limit is part of the interface, and it bounds
    // the time as well.
    let table_bytes = (first.len() as u64 + 1).saturating_mul(second.len() as u64 + 1).saturating_mul(4);
    if table_bytes > cx.global().settings.bulk_bytes_max as u64 {
        return cx.fail("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
    }
    if options.len {
        cx.reply.int(length(&first, &second, |_, _| {}) as i64);
        return Ok(());
    }
    let matches = matches(&first, &second);
    if !options.indexes {
        let mut subsequence = Vec::new();
        for found in matches.iter().rev() {
            subsequence.extend_from_slice(&first[found.first..found.first + found.len]);
        }
        cx.reply.bulk(&subsequence);
        return Ok(());
    }
    cx.reply.map(2);
    cx.reply.bulk(b"matches");
    let shown = || matches.iter().filter(|found| found.len as i64 >= options.len_min);
    cx.reply.array(shown().count());
    for found in shown() {
        cx.reply.array(if options.with_len { 3 } else { 2 });
        for start in [found.first, found.second] {
            cx.reply.array(2);
            cx.reply.count(start);
            cx.reply.count(start + found.len - 1);
        }
        if options.with_len {
            cx.reply.count(found.len);
        }
    }
    cx.reply.bulk(b"len");
    cx.reply.count(matches.iter().map(|found| found.len).sum());
    Ok(())
}

/// The string at the `nth` key; a missing key counts as empty.
fn text(cx: &mut Ctx<'_>, nth: usize) -> Result<Vec<u8>, Stop> {
    match cx.db.read(cx.keys[nth]) {
        None => Ok(Vec::new()),
        Some(entry) => Ok(entry.string()?.to_vec()),
    }
}

#[derive(Default)]
struct Options {
    len: bool,
    indexes: bool,
    with_len: bool,
    len_min: i64,
}

impl Options {
    fn parse(cx: &Ctx<'_>) -> Result<Options, Stop> {
        let mut options = Options::default();
        let mut at = 3;
        while at < cx.args.len() {
            if cx.word(at, "LEN") {
                options.len = true;
            } else if cx.word(at, "IDX") {
                options.indexes = true;
            } else if cx.word(at, "WITHMATCHLEN") {
                options.with_len = true;
            } else if cx.word(at, "MINMATCHLEN") && at + 1 < cx.args.len() {
                at += 1;
                options.len_min = cx.int(at)?;
            } else {
                return Err(Error::Syntax.into());
            }
            at += 1;
        }
        Ok(options)
    }
}

/// A run of bytes that both strings share, at these offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    first: usize,
    second: usize,
    len: usize,
}

/// The length of the longest common subsequence, by the textbook recurrence over prefixes: `L(i, j)` is `L(i-1, j-1) + 1`
/// where the last bytes are equal, else the larger of `L(i-1, j)` and `L(i, j-1)`. One row is kept. `longer_above` is told
/// the pairs (i, j), from 1, with unequal last bytes where `L(i-1, j) > L(i, j-1)`: what is needed to walk the way back.
fn length(first: &[u8], second: &[u8], mut longer_above: impl FnMut(usize, usize)) -> u32 {
    let mut row = vec![0u32; second.len() + 1];
    for (i, x) in (1..).zip(first) {
        let mut above_left = 0;
        for (j, y) in (1..).zip(second) {
            let above = row[j];
            row[j] = if x == y {
                above_left + 1
            } else if above > row[j - 1] {
                longer_above(i, j);
                above
            } else {
                row[j - 1]
            };
            above_left = above;
        }
    }
    row[second.len()]
}

/// The runs of one longest common subsequence, the last first. Among equally long ones it is the one that Redis finds: on the
/// way back from the ends it leaves a byte of `second`, unless leaving one of `first` loses less.
fn matches(first: &[u8], second: &[u8]) -> Vec<Match> {
    let width = second.len() + 1;
    let bit = |i: usize, j: usize| i * width + j;
    let mut up = vec![0u64; ((first.len() + 1) * width).div_ceil(64)];
    length(first, second, |i, j| up[bit(i, j) / 64] |= 1 << (bit(i, j) % 64));
    let mut found: Vec<Match> = Vec::new();
    let (mut i, mut j) = (first.len(), second.len());
    // Whether the step before was a match too, which this one then prolongs to the front.
    let mut in_run = false;
    while i > 0 && j > 0 {
        if first[i - 1] == second[j - 1] {
            (i, j) = (i - 1, j - 1);
            match found.last_mut() {
                Some(run) if in_run => *run = Match { first: i, second: j, len: run.len + 1 },
                _ => found.push(Match { first: i, second: j, len: 1 }),
            }
            in_run = true;
        } else {
            if up[bit(i, j) / 64] >> (bit(i, j) % 64) & 1 == 1 {
                i -= 1;
            } else {
                j -= 1;
            }
            in_run = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{length, matches};
    use crate::testing::{Rig, script};

    #[test]
    fn forms_of_the_answer() {
        script(&[
            ("MSET a ohmytext b mynewtext e \"\"", "+OK"),
            ("LCS a b", "$6 mytext"),
            ("LCS a b LEN", ":6"),
            ("LCS a b IDX", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"),
            ("LCS a b IDX MINMATCHLEN 4", "*4 $7 matches *1 *2 *2 :4 :7 *2 :5 :8 $3 len :6"),
            ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"),
            (
                "LCS a b WITHMATCHLEN MINMATCHLEN -4 IDX",
                "*4 $7 matches *2 *3 *2 :4 :7 *2 :5 :8 :4 *3 *2 :2 :3 *2 :0 :1 :2 $3 len :6",
            ),
            ("LCS a b MINMATCHLEN 4", "$6 mytext"),
            ("LCS a e IDX", "*4 $7 matches *0 $3 len :0"),
            ("LCS a no", "$0"),
            ("LCS no a LEN", ":0"),
            ("LCS a a LEN LEN", ":8"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        script(&[
            ("MSET a ohmytext b mynewtext", "+OK"),
            ("LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX."),
            ("LCS a no LEN IDX", "-ERR If you want both the length and indexes, please just use IDX."),
            ("LCS a b IDX MINMATCHLEN", "-ERR syntax error"),
            ("LCS a b MINMATCHLEN x FOO", "-ERR value is not an integer or out of range"),
            ("LCS a b FOO MINMATCHLEN x", "-ERR syntax error"),
            ("LCS a", "-ERR wrong number of arguments for 'lcs' command"),
        ]);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut rig = Rig::new();
        rig.world.global.settings.bulk_bytes_max = 64;
        rig.script(&[
            ("MSET a abc b axc c abcd", "+OK"),
            ("LCS a b", "$2 ac"),
            ("LCS a c", "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"),
            ("LCS a c LEN", "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"),
        ]);
    }

    /// The runs must be a common subsequence in order, and of the length that the recurrence says.
    #[test]
    fn runs_of_all_short_strings() {
        let strings: Vec<Vec<u8>> = (0..6).flat_map(|len| words(b"ab", len)).collect();
        for first in &strings {
            for second in &strings {
                let found = matches(first, second);
                let mut ends = (first.len(), second.len());
                for run in &found {
                    assert_eq!(first[run.first..][..run.len], second[run.second..][..run.len]);
                    assert!(run.first + run.len <= ends.0 && run.second + run.len <= ends.1);
                    ends = (run.first, run.second);
                }
                let len: usize = found.iter().map(|run| run.len).sum();
                assert_eq!(len, length(first, second, |_, _| {}) as usize);
                assert_eq!(len, longest(first, second), "{first:?} {second:?}");
            }
        }
    }

    fn words(letters: &[u8], len: usize) -> Vec<Vec<u8>> {
        (0..len).fold(vec![Vec::new()], |words, _| {
            words.iter().flat_map(|word| letters.iter().map(move |&letter| [&word[..], &[letter]].concat())).collect()
        })
    }

    /// By trying everything.
    fn longest(first: &[u8], second: &[u8]) -> usize {
        match (first, second) {
            ([x, first_rest @ ..], [y, second_rest @ ..]) => {
                let both = usize::from(x == y) + longest(first_rest, second_rest);
                both.max(longest(first_rest, second)).max(longest(first, second_rest))
            }
            _ => 0,
        }
    }
}
