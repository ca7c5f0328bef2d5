//! `KEYS`.

use std::ops::ControlFlow;

use config::glob_match;

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "keys",
    arity: 2,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW).union(Acl::DANGEROUS),
    summary: "Lists the keys whose names match a pattern.",
    complexity: "O(N), N being the number of keys in the database",
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    args: &[Arg::pattern("pattern")],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let pattern = cx.args[1];
    let everything = pattern == b"*";
    let (index, now, see_expired) = (cx.db.index, cx.db.now, cx.db.manners.see_expired);
    let start = cx.reply.start_deferred();
    let mut found = 0;
    cx.db.space.for_each(index, |entry| {
        let visible = see_expired || !entry.is_expired(now);
        if visible && (everything || glob_match(pattern, entry.key(), false)) {
            cx.reply.bulk(entry.key());
            found += 1;
        }
        ControlFlow::Continue(())
    });
    cx.reply.finish_array(start, found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn names_that_match_and_have_not_expired() {
        let mut rig = Rig::new();
        rig.script(&[
            ("KEYS *", "*0"),
            ("SET hello 1", "+OK"),
            ("SET hallo 1 PX 5", "+OK"),
            ("KEYS h[e]llo", "*1 $5 hello"),
            ("KEYS h[^e]llo", "*1 $5 hallo"),
            ("KEYS h[e", "*0"),
        ]);
        rig.now.0 += 6;
        rig.script(&[("KEYS *", "*1 $5 hello")]);
    }
}
