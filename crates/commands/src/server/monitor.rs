//! `MONITOR`: makes the connection a listener to what all others do. See [`observation::monitor`](crate::observation::monitor).

use crate::client::ClientFlags;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::registry::Command;
use crate::spec::{Acl, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "monitor",
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Sends every command that the server executes to this connection.",
    complexity: "O(1), and O(N) for each command of N bytes from then on",
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    if !cx.may_block {
        return cx.fail("ERR MONITOR isn't allowed for DENY BLOCKING client");
    }
    if cx.session.is_monitor {
        // A monitor that asks again hears nothing (so in Redis and Valkey).
        cx.session.commands_skipped += 1;
        return Ok(());
    }
    let client = cx.session.client.clone();
    cx.global_mut()?.monitors.add(&client);
    cx.session.is_monitor = true;
    cx.reply.ok();
    Ok(())
}

/// Why a monitor may not send this command.
#[cold]
pub fn refusal(command: &Command) -> Option<Error> {
    // A monitor counts as a replica here, and a replica gets the data by another way.
    const FORBIDDEN: Flags = Flags::READONLY.union(Flags::WRITE).union(Flags::MAY_REPLICATE);
    let is_forbidden = command.spec.flags.intersects(FORBIDDEN);
    is_forbidden.then(|| Error::text("ERR Replica can't interact with the keyspace"))
}

/// RESET: the client listens no more.
///
/// # Errors
/// `Stop::Wide` on the narrow side.
pub(crate) fn leave(cx: &mut Ctx<'_>) -> Outcome {
    if cx.session.is_monitor {
        let client = cx.session.client.clone();
        cx.global_mut()?.monitors.remove(&client);
        cx.session.is_monitor = false;
        debug_assert!(!cx.session.has(ClientFlags::MONITOR));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    #[test]
    fn a_monitor_until_reset() {
        let mut rig = Rig::new();
        rig.script(&[("MONITOR", "+OK"), ("MONITOR", "")]);
        assert!(rig.run("CLIENT INFO").contains(" flags=O "));
        assert!(!rig.world.global.monitors.is_empty());
        rig.script(&[("RESET", "+RESET")]);
        assert!(rig.run("CLIENT INFO").contains(" flags=N "));
        assert!(rig.world.global.monitors.is_empty());
    }

    #[test]
    fn not_in_a_transaction() {
        let mut rig = Rig::new();
        rig.script(&[
            ("MULTI", "+OK"),
            ("MONITOR", "+QUEUED"),
            ("EXEC", "*1 -ERR MONITOR isn't allowed for DENY BLOCKING client"),
        ]);
    }

    #[test]
    fn what_a_monitor_may_send() {
        let registry = crate::Registry::default();
        let refused = |name: &str| refusal(registry.find_full(name.as_bytes()).expect("a command")).is_some();
        for name in
            ["get", "set", "dbsize", "keys", "randomkey", "scan", "flushall", "dump", "eval", "publish", "xread"]
        {
            assert!(refused(name), "{name}");
        }
        for name in ["ping", "time", "select", "client|list", "info", "object|help", "watch", "subscribe", "multi"] {
            assert!(!refused(name), "{name}");
        }
    }
}
