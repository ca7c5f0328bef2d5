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
    let trim = options.finish(cx.global().settings.stream)?.ok_or(Error::Syntax)?;
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
