//! `INFO`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "info",
    arity: -1,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Reports the state and the counters of the server.",
    history: &[("7.0.0", "More than one section.")],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    args: &[Arg::string("section").optional().multiple()],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let text = cx.host.info(cx.global(), &cx.db, &cx.args[1..]);
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}
