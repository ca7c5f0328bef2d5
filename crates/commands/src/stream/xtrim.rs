//! `XTRIM`.

use keyspace::Stream;

use super::options::{Left, TrimOptions};
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "xtrim",
    arity: -4,
    flags: Flags::WRITE,
    acl: Acl::WRITE.union(Acl::STREAM).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::DELETE), 1)],
    group: Group::Stream,
    since: "5.0.0",
    summary: "Deletes entries from the beginning of a stream, down to a length or up to an id.",
    complexity: "O(N), N being the number of entries deleted; whole blocks of them go at once",
    history: &[("6.2.0", "Trimming by `MINID`, and `LIMIT`."), ("8.2.0", "`KEEPREF`, `DELREF` and `ACKED`.")],
    tips: &["nondeterministic_output"],
    args: &[
        Arg::key("key", 0),
        Arg::block(
            "trim",
            &[
                Arg::one_of("strategy", &[Arg::word("maxlen", "MAXLEN"), Arg::word("minid", "MINID").since("6.2.0")]),
                Arg::one_of("operator", &[Arg::word("equal", "="), Arg::word("approximately", "~")]).optional(),
                Arg::string("threshold"),
                Arg::integer("count").token("LIMIT").since("6.2.0").optional(),
                Arg::one_of(
                    "condition",
                    &[Arg::word("keepref", "KEEPREF"), Arg::word("delref", "DELREF"), Arg::word("acked", "ACKED")],
                )
                .optional(),
            ],
        ),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let mut options = TrimOptions::default();
    let mut index = 2;
    while index < cx.args.len() {
        index = options.take(cx.args, index)?.ok_or(Error::Syntax)?;
    }
    // Four arguments without a strategy are KEEPREF and its kin, twice: that is no syntax.
    let trim = options.finish(cx.global().settings.stream, cx.session.replays)?.ok_or(Error::Syntax)?;
    let Some(mut stream) = cx.db.write_as::<Stream>(key)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let trimmed = stream.trim(&trim);
    let left = Left::of(&stream.entries);
    drop(stream);
    if trimmed > 0 {
        cx.db.notify(EventClass::STREAM, "xtrim", key.bytes());
        cx.db.changed(trimmed);
        options.propagate(cx, left, None);
    }
    cx.reply.int(trimmed as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    /// 35 entries `n-1` in blocks of ten.
    fn rig() -> Rig {
        let mut rig = Rig::new();
        rig.run("CONFIG SET stream-node-max-entries 10");
        for number in 1..=35 {
            rig.run(&format!("XADD s {number}-1 a x"));
        }
        rig
    }

    #[test]
    fn whole_blocks_go() {
        // As observed of Redis 8.2.
        for (options, trimmed) in [
            ("MAXLEN ~ 25", 10),
            ("MAXLEN ~ 20", 10),
            ("MAXLEN ~ 0", 35),
            ("MAXLEN ~ 5", 30),
            ("MAXLEN ~ 25 LIMIT 5", 0),
            ("MAXLEN ~ 5 LIMIT 10", 10),
            ("MAXLEN ~ 5 LIMIT 19", 10),
            ("MAXLEN ~ 5 LIMIT 0", 30),
            ("MINID ~ 11", 10),
            ("MINID ~ 35", 30),
            ("MINID ~ 36", 35),
            ("MAXLEN ~ 5 DELREF", 0),
            ("ACKED MINID ~ 36", 0),
            ("MAXLEN 22", 13),
            ("MINID 22", 21),
        ] {
            assert_eq!(rig().run(&format!("XTRIM s {options}")), format!(":{trimmed}"), "{options}");
        }
    }

    #[test]
    fn references_decide() {
        let mut rig = rig();
        rig.script(&[
            ("XGROUP CREATE s g 0", "+OK"),
            ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 x"),
            ("XTRIM s MAXLEN 34 ACKED", ":0"),
            ("XACK s g 1-1", ":1"),
            ("XTRIM s MAXLEN 0 ACKED", ":1"),
            ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "*1 *2 $1 s *1 *2 $3 2-1 *2 $1 a $1 x"),
            ("XTRIM s MAXLEN 0 DELREF", ":34"),
            ("XPENDING s g", "*4 :0 $-1 $-1 *-1"),
        ]);
    }

    #[test]
    fn errors() {
        Rig::new().script(&[
            ("XTRIM s FOO 1", "-ERR syntax error"),
            ("XTRIM s MAXLEN 5 FOO", "-ERR syntax error"),
            ("XTRIM s KEEPREF ACKED", "-ERR syntax error"),
            ("XTRIM s NOMKSTREAM MAXLEN 5", "-ERR syntax error"),
            ("XTRIM s MAXLEN -1", "-ERR The MAXLEN argument must be >= 0."),
            ("XTRIM s MAXLEN 1", ":0"),
        ]);
    }
}
