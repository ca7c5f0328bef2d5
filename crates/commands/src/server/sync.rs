//! `SYNC`, `PSYNC` and `REPLCONF`: what replicas say to their primary.

use std::sync::atomic::Ordering::Relaxed;

use replication::{Replconf, Sync, SyncRequest};

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SYNC: Spec = Spec {
    name: "sync",
    arity: 1,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING).union(Flags::NO_MULTI),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Asks for a snapshot and all changes behind it, as old replicas do.",
    complexity: "O(N), N being the bytes of the snapshot",
    side: Side::Wide,
    run: Some(|cx| begin(cx, SyncRequest::Sync)),
    ..Spec::NEW
};

pub const PSYNC: Spec = Spec {
    name: "psync",
    arity: -3,
    since: "2.8.0",
    summary: "Asks for the stream of changes from an offset on, or a snapshot and all changes behind it.",
    complexity: "O(N), N being the bytes of what is sent",
    args: &[Arg::string("replicationid"), Arg::integer("offset")],
    run: Some(psync),
    ..SYNC
};

pub const REPLCONF: Spec = Spec {
    name: "replconf",
    arity: -1,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE).union(Flags::ALLOW_BUSY),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "3.0.0",
    summary: "Lets a replica say what it can and what it has.",
    doc_flags: &["syscmd"],
    side: Side::Wide,
    run: Some(replconf),
    ..Spec::NEW
};

fn psync(cx: &mut Ctx<'_>) -> Outcome {
    let offset = cx.int(2)?;
    begin(cx, SyncRequest::Psync { id: cx.args[1], offset, failover: cx.word(3, "failover") })
}

fn begin(cx: &mut Ctx<'_>, request: SyncRequest<'_>) -> Outcome {
    // A monitor's connection is one that nothing but the stream of commands goes over. As in Redis, it hears nothing of this.
    if cx.session.is_monitor {
        return Ok(());
    }
    // What is still to be sent would come between the reply and what follows.
    if !cx.reply.is_empty() || cx.session.client.output_bytes.load(Relaxed) > 0 {
        return cx.fail("ERR SYNC and PSYNC are invalid with pending output");
    }
    let client = cx.session.client.clone();
    match cx.host.replication().sync(cx.alone()?, &client, request) {
        Sync::Refuse(text) => Err(Error::string(text).into()),
        Sync::Offer(text) => {
            cx.reply.simple(text);
            Ok(())
        }
        begun => {
            cx.session.becomes_replica = Some(Box::new(begun));
            Ok(())
        }
    }
}

fn replconf(cx: &mut Ctx<'_>) -> Outcome {
    let client = cx.session.client.clone();
    let words = &cx.args[1..];
    match cx.host.replication().replconf(cx.alone()?, &client, words) {
        Replconf::Ok => cx.reply.ok(),
        Replconf::Silent => {}
        Replconf::Error(text) => return Err(Error::string(text).into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use replication::{Replconf, Sync};

    use crate::testing::{Rig, script};

    #[test]
    fn what_is_no_request() {
        script(&[
            ("SYNC x", "-ERR wrong number of arguments for 'sync' command"),
            ("PSYNC ?", "-ERR wrong number of arguments for 'psync' command"),
            ("PSYNC ? x", "-ERR value is not an integer or out of range"),
        ]);
    }

    #[test]
    fn a_connection_is_given_away_unless_it_is_refused() {
        let mut rig = Rig::new();
        rig.host.replication.lock().sync =
            Sync::Refuse("NOMASTERLINK Can't SYNC while not connected with my master".into());
        rig.script(&[("PSYNC ? -1", "-NOMASTERLINK Can't SYNC while not connected with my master")]);
        assert!(rig.session.becomes_replica.is_none());
        let begun = Sync::Continue { reply: b"+CONTINUE\r\n".to_vec(), from: 7 };
        rig.host.replication.lock().sync = begun.clone();
        rig.script(&[("PSYNC 0123 8 FAILOVER", "")]);
        assert_eq!(rig.session.becomes_replica.take(), Some(Box::new(begun)));
        rig.host.replication.lock().sync = Sync::Wait;
        rig.script(&[("SYNC", "")]);
        assert_eq!(rig.session.becomes_replica.take(), Some(Box::new(Sync::Wait)));
        let asked = std::mem::take(&mut rig.host.replication.lock().asked);
        assert_eq!(asked, ["psync ? -1", "psync 0123 8 failover", "sync"]);
    }

    #[test]
    fn what_replconf_is_told() {
        let mut rig = Rig::new();
        rig.script(&[("REPLCONF", "+OK"), ("REPLCONF listening-port 6380", "+OK")]);
        rig.host.replication.lock().replconf = Replconf::Silent;
        rig.script(&[("REPLCONF ACK 0", "")]);
        rig.host.replication.lock().replconf = Replconf::Error("ERR Unrecognized REPLCONF option: x".into());
        rig.script(&[("REPLCONF x y", "-ERR Unrecognized REPLCONF option: x")]);
        let asked = std::mem::take(&mut rig.host.replication.lock().asked);
        assert_eq!(asked, ["replconf", "replconf listening-port 6380", "replconf ACK 0", "replconf x y"]);
    }
}
