//! `CLIENT NO-EVICT`.

use super::on_or_off;
use crate::client::ClientFlags;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "no-evict",
    arity: 3,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS).union(Acl::CONNECTION),
    group: Group::Connection,
    since: "7.0.0",
    summary: "Exempts this connection from the eviction of clients.",
    args: &[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let on = on_or_off(cx, 2)?;
    cx.session.client.set_flag(ClientFlags::NO_EVICT, on);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn on_and_off() {
        script(&[
            ("CLIENT NO-EVICT ON", "+OK"),
            ("CLIENT NO-EVICT off", "+OK"),
            ("CLIENT NO-EVICT maybe", "-ERR syntax error"),
        ]);
    }
}
