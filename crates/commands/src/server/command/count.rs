//! `COMMAND COUNT`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "count",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Server,
    since: "2.8.13",
    summary: "Counts the commands.",
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let count = cx.global().registry.callable().count();
    cx.reply.int(count as i64);
    Ok(())
}
