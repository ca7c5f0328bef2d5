//! `CLIENT NO-TOUCH`.

use super::on_or_off;
use crate::client::ClientFlags;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "no-touch",
    arity: 3,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "7.2.0",
    summary: "Lets this connection read without refreshing the LRU or LFU clock of keys.",
    args: &[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let on = on_or_off(cx, 2)?;
    cx.session.client.set_flag(ClientFlags::NO_TOUCH, on);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::client::ClientFlags;
    use crate::testing::Rig;

    #[test]
    fn on_and_off() {
        let mut rig = Rig::new();
        rig.script(&[
            ("SET a 1", "+OK"),
            ("CLIENT NO-TOUCH ON", "+OK"),
            ("CLIENT NO-TOUCH maybe", "-ERR syntax error"),
        ]);
        assert!(rig.session.has(ClientFlags::NO_TOUCH));
        rig.script(&[("CLIENT NO-TOUCH OFF", "+OK")]);
        assert!(!rig.session.has(ClientFlags::NO_TOUCH));
    }
}
