//! `HSCAN`.

use keyspace::{Hash, IntBuffer};

use super::{put, seen_from};
use crate::context::{Ctx, Outcome};
use crate::generic::scan::{Options, Walk, cursor};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "hscan",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::HASH).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Hash,
    since: "2.8.0",
    summary: "Walks over the fields of a hash, a few at a time.",
    complexity: "O(1) a call, O(N) until the cursor is back at 0, N being the number of fields in the hash",
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::integer("cursor"),
        Arg::pattern("pattern").token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::word("novalues", "NOVALUES").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let cursor = cursor(cx.args[2])?;
    let now = seen_from(&cx.db);
    let Some(hash) = cx.db.read_as::<Hash>(cx.keys[0])? else {
        // Before the options are looked at, as in Redis.
        cx.reply.array(2);
        cx.reply.bulk("0");
        cx.reply.array(0);
        return Ok(());
    };
    let options = Options::parse(&cx.args[3..], Walk::Fields)?;
    // The cursor comes first in the reply and is known last.
    let mut found = Vec::new();
    let next = hash.scan(cursor, options.count, now, |field| {
        if options.matches(field.name.bytes(&mut IntBuffer::new())) {
            found.push(field);
        }
    });
    cx.reply.array(2);
    cx.reply.bulk(next.to_string());
    cx.reply.array(if options.no_values { found.len() } else { 2 * found.len() });
    for field in found {
        put(cx.reply, &field.name);
        if !options.no_values {
            put(cx.reply, &field.value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::testing::{Rig, script};

    #[test]
    fn small_hashes_are_shown_at_once() {
        script(&[
            ("HSET h a 1 b 2 12 3", ":3"),
            ("HSCAN h 0", "*2 $1 0 *6 $1 a $1 1 $1 b $1 2 $2 12 $1 3"),
            ("HSCAN h 17 COUNT 1", "*2 $1 0 *6 $1 a $1 1 $1 b $1 2 $2 12 $1 3"),
            ("HSCAN h 0 NOVALUES", "*2 $1 0 *3 $1 a $1 b $2 12"),
            ("HSCAN h 0 MATCH 1*", "*2 $1 0 *2 $2 12 $1 3"),
            ("HSCAN no 0 FOO", "*2 $1 0 *0"),
            ("HSCAN no x", "-ERR invalid cursor"),
            ("HSCAN h 0 TYPE hash", "-ERR syntax error"),
            ("HSCAN h 0 COUNT 0", "-ERR syntax error"),
            ("HSCAN h 0 COUNT x", "-ERR value is not an integer or out of range"),
            ("HSCAN h 0 NOVALUES NOVALUES MATCH", "-ERR syntax error"),
            ("SET s x", "+OK"),
            ("HSCAN s x", "-ERR invalid cursor"),
            ("HSCAN s 0 FOO", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }

    #[test]
    fn large_ones_a_few_fields_at_a_time_while_they_grow() {
        let mut rig = Rig::new();
        (0..1000).for_each(|number| assert_eq!(rig.run(&format!("HSET h f{number} x")), ":1"));
        let mut found = HashSet::new();
        let (mut cursor, mut calls) = ("0".to_owned(), 0);
        loop {
            let reply = rig.run(&format!("HSCAN h {cursor} COUNT 10 NOVALUES"));
            let mut words = reply.split(' ').filter(|word| !word.starts_with(['$', '*']));
            cursor = words.next().unwrap().to_owned();
            found.extend(words.map(str::to_owned));
            rig.run(&format!("HSET h later{calls} x"));
            calls += 1;
            if cursor == "0" {
                break;
            }
        }
        assert!(calls > 20);
        (0..1000).for_each(|number| assert!(found.contains(&format!("f{number}")), "f{number}"));
    }
}
