//! `ZRANDMEMBER`.

use std::collections::HashSet;

use keyspace::collection::sorted_set::Direction;
use keyspace::{Collection, SortedSet};

use super::{put_header, put_member, put_pair};
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "zrandmember",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Returns members picked at random.",
    complexity: "O(N), N being the number of members returned",
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::block("options", &[Arg::integer("count"), Arg::word("withscores", "WITHSCORES").optional()]).optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let Some(count) = cx.args.get(2) else { return one(cx) };
    let count = resp::number::parse_i64(count).ok_or(Error::NotInteger)?;
    if count == i64::MIN {
        return cx.fail("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    }
    let with_scores = cx.args.len() > 3;
    if with_scores && (cx.args.len() > 4 || !cx.word(3, "WITHSCORES")) {
        return Err(Error::Syntax.into());
    }
    // Twice as many elements must be countable.
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return cx.fail("ERR value is out of range");
    }
    let bytes_max = cx.reply_bytes_max();
    let Some(set) = cx.db.read_as::<SortedSet>(cx.keys[0])? else {
        cx.reply.array(0);
        return Ok(());
    };
    let (len, wanted) = (set.len(), count.unsigned_abs() as usize);
    if count >= 0 && wanted >= len {
        put_header(cx.reply, len, with_scores);
        // From the end, as Redis 8.2 does it.
        for (member, score) in set.iter(0..len, Direction::Down) {
            put_pair(cx.reply, &member, with_scores.then_some(score));
        }
        return Ok(());
    }
    put_header(cx.reply, wanted, with_scores);
    let put = |reply: &mut resp::Reply, rank: usize| {
        let (member, score) = set.nth(rank).expect("a rank below the number of members");
        put_pair(reply, &member, with_scores.then_some(score));
    };
    if count < 0 {
        for _ in 0..wanted {
            if cx.reply.len() > bytes_max {
                break;
            }
            put(cx.reply, below(len));
        }
        cx.close_if_beyond(bytes_max);
        return Ok(());
    }
    // Floyd's sampling: `wanted` different ranks with as many draws (Bentley, "Programming Pearls: A Sample of Brilliance", 1987).
    let mut chosen = HashSet::with_capacity(wanted);
    for last in len - wanted..len {
        let rank = below(last + 1);
        let rank = if chosen.insert(rank) { rank } else { last };
        chosen.insert(rank);
        put(cx.reply, rank);
    }
    Ok(())
}

fn one(cx: &mut Ctx<'_>) -> Outcome {
    let set = cx.db.read_as::<SortedSet>(cx.keys[0])?;
    match set.as_ref().and_then(|set| set.nth(below(set.len()))) {
        Some((member, _)) => put_member(cx.reply, &member),
        None => cx.reply.null(),
    }
    Ok(())
}

/// A number below `bound`, each as likely (to one in 2^64 / `bound`).
fn below(bound: usize) -> usize {
    ((u128::from(rand::random::<u64>()) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;
    use crate::testing::Rig;

    #[test]
    fn forms_and_errors() {
        encodings(&[
            ("ZADD z 1 a", ":1"),
            ("ZRANDMEMBER z", "$1 a"),
            ("ZRANDMEMBER z 5", "*1 $1 a"),
            ("ZRANDMEMBER z -3", "*3 $1 a $1 a $1 a"),
            ("ZRANDMEMBER z -2 WITHSCORES", "*4 $1 a $1 1 $1 a $1 1"),
            ("ZRANDMEMBER z 0", "*0"),
            ("ZRANDMEMBER no", "$-1"),
            ("ZRANDMEMBER no -5", "*0"),
            ("SET s 1", "+OK"),
            ("ZRANDMEMBER s x FOO", "-ERR value is not an integer or out of range"),
            ("ZRANDMEMBER s 4611686018427387904 FOO", "-ERR syntax error"),
            ("ZRANDMEMBER s 1 WITHSCORES x", "-ERR syntax error"),
            ("ZRANDMEMBER s 4611686018427387904 WITHSCORES", "-ERR value is out of range"),
            (
                "ZRANDMEMBER s -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
            ("ZRANDMEMBER s 3", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }

    #[test]
    fn all_are_different_and_all_come_up() {
        for entries_max in [0, 128] {
            let mut rig = Rig::new();
            rig.world.global.settings.sorted_set.listpack_entries_max = entries_max;
            for number in 0..20 {
                rig.run(&format!("ZADD z {number} m{number}"));
            }
            let mut seen = std::collections::BTreeMap::<String, usize>::new();
            for _ in 0..500 {
                let reply = rig.run("ZRANDMEMBER z 7");
                let mut names: Vec<_> =
                    reply.split(' ').filter(|word| word.starts_with('m')).map(str::to_owned).collect();
                assert_eq!(names.len(), 7);
                names.iter().for_each(|name| *seen.entry(name.clone()).or_default() += 1);
                names.sort();
                names.dedup();
                assert_eq!(names.len(), 7);
            }
            // 175 times each on average, with a deviation of 11.
            assert!(seen.len() == 20 && seen.values().all(|times| (90..260).contains(times)), "{seen:?}");
        }
    }
}
