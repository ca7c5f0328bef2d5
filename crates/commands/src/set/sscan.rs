//! `SSCAN`.

use keyspace::{IntBuffer, Set};

use crate::context::{Ctx, Outcome};
use crate::generic::scan::{Options, Walk, cursor};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "sscan",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Set,
    since: "2.8.0",
    summary: "Walks over the members of a set, a few at a time.",
    complexity: "O(1) a call, O(N) until the cursor is back at 0, N being the size of the set",
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::integer("cursor"),
        Arg::pattern("pattern").token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let cursor = cursor(cx.args[2])?;
    let Some(set) = cx.db.read_as::<Set>(cx.keys[0])? else {
        cx.reply.array(2);
        cx.reply.bulk(b"0");
        cx.reply.array(0);
        return Ok(());
    };
    let options = Options::parse(&cx.args[3..], Walk::Members)?;
    let mut buffer = IntBuffer::new();
    let mut members = Vec::new();
    let next = set.scan(cursor, options.count, |member| {
        if options.matches(member.bytes(&mut buffer)) {
            members.push(member);
        }
    });
    cx.reply.array(2);
    cx.reply.bulk(next.to_string());
    cx.reply.array(members.len());
    members.iter().for_each(|member| cx.reply.bulk(member.bytes(&mut buffer)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn small_sets_at_once() {
        script(&[
            ("SADD a 1 2 x", ":3"),
            ("SSCAN a 0", "*2 $1 0 *3 $1 1 $1 2 $1 x"),
            ("SSCAN a 99", "*2 $1 0 *3 $1 1 $1 2 $1 x"),
            ("SSCAN a 0 MATCH [12] COUNT 1", "*2 $1 0 *2 $1 1 $1 2"),
            ("SSCAN a x", "-ERR invalid cursor"),
            ("SSCAN a 0 COUNT 0", "-ERR syntax error"),
            ("SSCAN a 0 TYPE set", "-ERR syntax error"),
            ("SSCAN a 0 NOVALUES", "-ERR NOVALUES option can only be used in HSCAN"),
            ("SSCAN none 0", "*2 $1 0 *0"),
            ("SSCAN none 0 FOO", "*2 $1 0 *0"),
        ]);
    }

    /// What is there all the time is met, whatever comes and goes.
    #[test]
    fn a_walk_while_the_set_grows_and_shrinks() {
        let mut rig = Rig::new();
        (0..2000).for_each(|number| drop(rig.run(&format!("SADD a stays{number} goes{number}"))));
        let (mut cursor, mut seen, mut step) = ("0".to_owned(), std::collections::HashSet::new(), 0);
        loop {
            let reply = rig.run(&format!("SSCAN a {cursor} COUNT 20"));
            let words: Vec<&str> = reply.split(' ').collect();
            cursor = words[2].to_owned();
            seen.extend(words.iter().filter(|word| word.starts_with("stays")).map(|word| word.to_string()));
            if cursor == "0" {
                break;
            }
            for number in step * 10..step * 10 + 10 {
                rig.run(&format!("SREM a goes{number}"));
                if step % 2 == 0 {
                    rig.run(&format!("SADD a new{number}"));
                }
            }
            step += 1;
        }
        assert_eq!(seen.len(), 2000);
    }
}
