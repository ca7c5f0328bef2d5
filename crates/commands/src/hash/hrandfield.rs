//! `HRANDFIELD`.

use std::collections::HashSet;

use keyspace::collection::FieldRef;
use keyspace::{Collection, Hash, Millis};
use rand::seq::SliceRandom;

use super::{put, seen_from};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hrandfield",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::HASH).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "6.2.0",
    summary: "Returns fields of a hash, chosen by chance.",
    complexity: "O(N), N being the number of fields returned",
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::block("options", &[Arg::integer("count"), Arg::word("withvalues", "WITHVALUES").optional()]).optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

/// From this part of all fields on it is cheaper to shuffle them all than to draw until enough different ones have come.
const SHUFFLED_FROM_PART: usize = 3;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let now = seen_from(&cx.db);
    if cx.args.len() == 2 {
        expire_small(cx);
        let hash = cx.db.read_as::<Hash>(cx.keys[0])?;
        match hash.as_ref().and_then(|hash| hash.random(now, rand::random)) {
            Some(field) => put(cx.reply, &field.name),
            None => cx.reply.null(),
        }
        return Ok(());
    }
    let count = cx.int(2)?;
    if count == i64::MIN {
        return cx.fail("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    }
    let with_values = cx.word(3, "WITHVALUES");
    if cx.args.len() > 4 || (cx.args.len() == 4 && !with_values) {
        return Err(Stop::Error(Error::Syntax));
    }
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return cx.fail("ERR value is out of range");
    }
    let bytes_max = cx.reply_bytes_max();
    expire_small(cx);
    let Some(hash) = cx.db.read_as::<Hash>(cx.keys[0])? else {
        cx.reply.array(0);
        return Ok(());
    };
    let nested = with_values && cx.reply.proto() == resp::Proto::Resp3;
    let put_field = |cx_reply: &mut resp::Reply, field: &FieldRef<'_>| {
        if nested {
            cx_reply.array(2);
        }
        put(cx_reply, &field.name);
        if with_values {
            put(cx_reply, &field.value);
        }
    };
    let elements = |fields: usize| if with_values && !nested { 2 * fields } else { fields };
    if count >= 0 {
        let chosen = different(&hash, now, count as usize);
        cx.reply.array(elements(chosen.len()));
        chosen.iter().for_each(|field| put_field(cx.reply, field));
        return Ok(());
    }
    // With repetition. What is not O(1) a draw is laid out once: a table where fields have expired may have hardly another.
    let all = if hash.is_table() && !hash.is_due(now) { Vec::new() } else { hash.collect(now) };
    let count = if all.is_empty() && hash.random(now, rand::random).is_none() { 0 } else { -count as usize };
    cx.reply.array(elements(count));
    for _ in 0..count {
        if cx.reply.len() > bytes_max {
            break;
        }
        let field = match all.len() {
            0 => hash.random(now, rand::random).expect("there was one just now"),
            len => all[rand::random_range(0..len)],
        };
        put_field(cx.reply, &field);
    }
    cx.close_if_beyond(bytes_max);
    Ok(())
}

/// Takes what has expired out of a small hash, as Redis does here, so that only what lives is drawn from.
fn expire_small(cx: &mut Ctx<'_>) {
    let (key, now) = (cx.keys[0], cx.db.now);
    let names = match cx.db.glance(key).and_then(|entry| entry.typed::<Hash>()) {
        Some(hash) if hash.is_due(now) && !hash.is_table() => hash.due_names(now),
        _ => return,
    };
    cx.db.expire_fields(key, names.iter().map(Vec::as_slice));
}

/// Fields without repetition, every choice equally likely.
fn different(hash: &Hash, now: Millis, count: usize) -> Vec<FieldRef<'_>> {
    if hash.is_table() && !hash.is_due(now) && count < hash.len() / SHUFFLED_FROM_PART {
        let mut chosen = Vec::with_capacity(count);
        let mut names = HashSet::with_capacity(count);
        while chosen.len() < count {
            let field = hash.random(now, rand::random).expect("it has more fields than were drawn");
            if names.insert(field.name.to_vec()) {
                chosen.push(field);
            }
        }
        return chosen;
    }
    let mut all = hash.collect(now);
    if count < all.len() {
        all.partial_shuffle(&mut rand::rng(), count);
        // What was chosen lies at the end.
        all.drain(..all.len() - count);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use crate::testing::{Rig, script};

    #[test]
    fn counts_and_errors() {
        let range = "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
        script(&[
            ("HRANDFIELD no", "$-1"),
            ("HRANDFIELD no 5", "*0"),
            ("HRANDFIELD no -5 WITHVALUES", "*0"),
            ("HSET h a 1", ":1"),
            ("HRANDFIELD h", "$1 a"),
            ("HRANDFIELD h 0", "*0"),
            ("HRANDFIELD h 5", "*1 $1 a"),
            ("HRANDFIELD h 5 withvalues", "*2 $1 a $1 1"),
            ("HRANDFIELD h -2", "*2 $1 a $1 a"),
            ("HRANDFIELD h -2 WITHVALUES", "*4 $1 a $1 1 $1 a $1 1"),
            ("HRANDFIELD h x", "-ERR value is not an integer or out of range"),
            ("HRANDFIELD h 1 x", "-ERR syntax error"),
            ("HRANDFIELD h 1 WITHVALUES x", "-ERR syntax error"),
            ("HRANDFIELD h -9223372036854775808", range),
            ("HRANDFIELD h 9223372036854775807 WITHVALUES", "-ERR value is out of range"),
            ("HRANDFIELD h 4611686018427387903 WITHVALUES", "*2 $1 a $1 1"),
            ("HRANDFIELD h -4611686018427387904 WITHVALUES", "-ERR value is out of range"),
            ("SET s x", "+OK"),
            ("HRANDFIELD s 1 x", "-ERR syntax error"),
            ("HRANDFIELD s 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("HELLO 3", Rig::new().run("HELLO 3").as_str()),
            ("HRANDFIELD h -2 WITHVALUES", "*2 *2 $1 a $1 1 *2 $1 a $1 1"),
            ("HRANDFIELD h -2", "*2 $1 a $1 a"),
        ]);
    }

    /// In both encodings, and by each of the ways in which fields are drawn: chi-square, 19 degrees of freedom; 60 is beyond one in a million.
    #[test]
    fn every_field_is_as_likely_as_the_others() {
        const FIELDS: usize = 20;
        for entries_max in [512, 0] {
            for (call, drawn) in
                [("HRANDFIELD h", 1), ("HRANDFIELD h -50", 50), ("HRANDFIELD h 3", 3), ("HRANDFIELD h 9", 9)]
            {
                let mut rig = Rig::new();
                rig.run(&format!("CONFIG SET hash-max-listpack-entries {entries_max}"));
                (0..FIELDS).for_each(|number| assert_eq!(rig.run(&format!("HSET h f{number} x")), ":1"));
                let mut counts = HashMap::<String, usize>::new();
                let calls = 20_000 / drawn;
                for _ in 0..calls {
                    let reply = rig.run(call);
                    let names: Vec<&str> = reply.split(' ').filter(|word| word.starts_with('f')).collect();
                    assert_eq!(names.len(), drawn);
                    names.into_iter().for_each(|name| *counts.entry(name.to_owned()).or_default() += 1);
                }
                let expected = (calls * drawn) as f64 / FIELDS as f64;
                let chi_square: f64 = counts.values().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
                assert_eq!(counts.len(), FIELDS);
                assert!(chi_square < 60.0, "{call}, {entries_max} entries: {chi_square}");
            }
        }
    }
}
