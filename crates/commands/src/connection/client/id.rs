//! `CLIENT ID`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "id",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "5.0.0",
    summary: "Returns the id of this connection.",
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.int(cx.session.client.id as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn from_one() {
        script(&[("CLIENT ID", ":1")]);
    }
}
