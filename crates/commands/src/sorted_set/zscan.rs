//! `ZSCAN`.

use keyspace::{Collection, IntBuffer, SortedSet};
use resp::number::DoubleText;

use crate::context::{Ctx, Outcome};
use crate::generic::scan::{Options, Walk, cursor};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "zscan",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "2.8.0",
    summary: "Walks over the members of a sorted set, a few at a time.",
    complexity: "O(1) a call, O(N) until the cursor is back at 0, N being the size of the sorted set",
    history: &[("8.0.0", "Option `NOSCORES` (Valkey).")],
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::integer("cursor"),
        Arg::pattern("pattern").token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::word("noscores", "NOSCORES").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let cursor = cursor(cx.args[2])?;
    let Some(set) = cx.db.read_as::<SortedSet>(cx.keys[0])? else {
        cx.reply.array(2);
        cx.reply.bulk(b"0");
        cx.reply.array(0);
        return Ok(());
    };
    let options = Options::parse(&cx.args[3..], Walk::Scores)?;
    // The cursor comes first in the reply and is known last.
    let mut members = Vec::new();
    let mut buffer = IntBuffer::new();
    let next = set.scan(cursor, options.count, |member, score| {
        let member = member.bytes(&mut buffer);
        if options.matches(member) {
            members.push((member.to_vec(), score));
        }
    });
    let is_table = set.encoding_name() == "skiplist";
    cx.reply.array(2);
    cx.reply.bulk(next.to_string());
    cx.reply.array(if options.no_values { members.len() } else { 2 * members.len() });
    for (member, score) in members {
        cx.reply.bulk(member);
        if !options.no_values {
            // A bulk, also in RESP3. Redis writes the scores of a skip list with 17 digits.
            match is_table {
                true => cx.reply.bulk(digits_17(score)),
                false => cx.reply.bulk(DoubleText::new(score).as_bytes()),
            }
        }
    }
    Ok(())
}

/// As C's `%.17g` writes it.
fn digits_17(score: f64) -> String {
    if !score.is_finite() {
        return if score > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    let text = format!("{score:.16e}");
    let (digits, exponent) = text.split_once('e').expect("in this form there is an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..17).contains(&exponent) {
        return trimmed(&format!("{score:.*}", (16 - exponent) as usize));
    }
    format!("{}e{}{:02}", trimmed(digits), if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;
    use crate::testing::{Rig, script};

    #[test]
    fn seventeen_digits() {
        for (score, text) in [
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (1e300, "1.0000000000000001e+300"),
            (123456789012345678.0, "1.2345678901234568e+17"),
            (4503599627370497.0, "4503599627370497"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (3.0, "3"),
            (5e-324, "4.9406564584124654e-324"),
            (0.0001, "0.0001"),
            (-0.00001, "-1.0000000000000001e-05"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(super::digits_17(score), text);
        }
    }

    #[test]
    fn small_ones_at_once() {
        script(&[
            ("ZADD z 1 a 2.5 b 3 c", ":3"),
            ("ZSCAN z 0", "*2 $1 0 *6 $1 a $1 1 $1 b $3 2.5 $1 c $1 3"),
            ("ZSCAN z 17 COUNT 1", "*2 $1 0 *6 $1 a $1 1 $1 b $3 2.5 $1 c $1 3"),
            ("ZSCAN z 0 NOSCORES", "*2 $1 0 *3 $1 a $1 b $1 c"),
        ]);
        encodings(&[
            ("ZADD z 1 a 2.5 b 3 c", ":3"),
            ("ZSCAN z 0 MATCH b COUNT 100", "*2 $1 0 *2 $1 b $3 2.5"),
            ("ZSCAN z 0 MATCH b NOSCORES COUNT 100", "*2 $1 0 *1 $1 b"),
            ("SET s 1", "+OK"),
            ("ZSCAN s x", "-ERR invalid cursor"),
            ("ZSCAN no 0 FOO", "*2 $1 0 *0"),
            ("ZSCAN s 0 FOO", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("ZSCAN z 0 FOO", "-ERR syntax error"),
            ("ZSCAN z 0 TYPE zset", "-ERR syntax error"),
            ("ZSCAN z 0 NOVALUES", "-ERR NOVALUES option can only be used in HSCAN"),
        ]);
    }

    #[test]
    fn a_walk_over_a_large_one() {
        let mut rig = Rig::new();
        for number in 0..1000 {
            rig.run(&format!("ZADD z {number} m{number}"));
        }
        let mut found = std::collections::BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let reply = rig.run(&format!("ZSCAN z {cursor} COUNT 30 NOSCORES"));
            let mut words = reply.split(' ').filter(|word| !word.starts_with(['$', '*']));
            cursor = words.next().expect("a cursor").to_owned();
            found.extend(words.map(str::to_owned));
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), 1000);
    }
}
