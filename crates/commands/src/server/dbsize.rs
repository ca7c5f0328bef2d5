//! `DBSIZE`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "dbsize",
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::FAST),
    group: Group::Server,
    summary: "Counts the keys of the database.",
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let count = cx.db.space.len(cx.db.index);
    cx.reply.int(count as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn counts_the_selected_database() {
        script(&[("DBSIZE", ":0"), ("MSET a 1 b 2", "+OK"), ("DBSIZE", ":2"), ("SELECT 1", "+OK"), ("DBSIZE", ":0")]);
    }
}
