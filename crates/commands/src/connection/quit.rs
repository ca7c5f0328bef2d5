//! `QUIT`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "quit",
    arity: -1,
    flags: Flags::NOSCRIPT
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::FAST)
        .union(Flags::NO_AUTH)
        .union(Flags::ALLOW_BUSY),
    acl: Acl::FAST.union(Acl::CONNECTION),
    group: Group::Connection,
    summary: "Replies, then closes the connection.",
    doc_flags: &["deprecated"],
    deprecated_since: Some("7.2.0"),
    replaced_by: Some("just closing the connection"),
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    cx.session.close_after_reply = true;
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn what_it_is_called_with_does_not_matter() {
        let mut rig = Rig::new();
        rig.script(&[("QUIT now", "+OK")]);
        assert!(rig.session.close_after_reply);
    }
}
