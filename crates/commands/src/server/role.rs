//! `ROLE`.

use replication::{LinkState, ReplicaState};

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "role",
    arity: 1,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::FAST),
    acl: Acl::ADMIN.union(Acl::FAST).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "2.8.12",
    summary: "Tells whether the server is a primary, with its replicas, or a replica, with its primary.",
    // What it tells belongs together.
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let host = cx.host.replication();
    let Some(upstream) = host.upstream() else {
        let mut replicas = host.replicas();
        replicas.retain(|replica| replica.state == ReplicaState::Online);
        cx.reply.array(3);
        cx.reply.bulk("master");
        cx.reply.int(host.offset() as i64);
        cx.reply.array(replicas.len());
        for replica in replicas {
            cx.reply.array(3);
            cx.reply.bulk(&replica.host);
            cx.reply.bulk(replica.port.to_string());
            cx.reply.bulk(replica.offset.to_string());
        }
        return Ok(());
    };
    let state = match upstream.state {
        LinkState::Connect => "connect",
        LinkState::Connecting => "connecting",
        LinkState::Handshake => "handshake",
        LinkState::Sync => "sync",
        LinkState::Connected => "connected",
    };
    cx.reply.array(5);
    cx.reply.bulk("slave");
    cx.reply.bulk(&upstream.address.host);
    cx.reply.int(upstream.address.port.into());
    cx.reply.bulk(state);
    cx.reply.int(if upstream.state == LinkState::Connected { upstream.offset as i64 } else { -1 });
    Ok(())
}

#[cfg(test)]
mod tests {
    use replication::{LinkState, ReplicaState};

    use crate::testing::{Rig, replica, upstream};

    #[test]
    fn a_primary_names_the_replicas_that_follow() {
        let mut rig = Rig::new();
        rig.script(&[("ROLE", "*3 $6 master :0 *0")]);
        let mut state = rig.host.replication.lock();
        state.offset = 70;
        state.replicas = vec![replica(2, 40), replica(3, 50)];
        state.replicas[0].state = ReplicaState::ReceivesSnapshot;
        drop(state);
        rig.script(&[("ROLE", "*3 $6 master :70 *1 *3 $8 10.0.0.3 $4 6379 $2 50")]);
    }

    #[test]
    fn a_replica_names_its_primary() {
        let mut rig = Rig::new();
        rig.host.replication.lock().upstream = Some(upstream(LinkState::Connected));
        rig.script(&[("ROLE", "*5 $5 slave $8 10.0.0.1 :6379 $9 connected :60")]);
        for (state, word) in [
            (LinkState::Connect, "$7 connect"),
            (LinkState::Connecting, "$10 connecting"),
            (LinkState::Handshake, "$9 handshake"),
            (LinkState::Sync, "$4 sync"),
        ] {
            rig.host.replication.lock().upstream = Some(upstream(state));
            rig.script(&[("ROLE", &format!("*5 $5 slave $8 10.0.0.1 :6379 {word} :-1"))]);
        }
    }
}
