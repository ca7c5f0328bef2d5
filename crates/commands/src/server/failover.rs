//! `FAILOVER`.

use replication::{Address, FailoverRequest, FailoverState, ReplicaState};

use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::global::Role;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "failover",
    arity: -1,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "6.2.0",
    summary: "Lets a replica take over from this primary, once it has all that there is.",
    args: &[
        Arg::block("target", &[Arg::string("host"), Arg::integer("port"), Arg::word("force", "FORCE").optional()])
            .token("TO")
            .optional(),
        Arg::word("abort", "ABORT").optional(),
        Arg::integer("milliseconds").token("TIMEOUT").optional(),
    ],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let host = cx.host.replication();
    if cx.args.len() == 2 && cx.word(1, "abort") {
        if host.failover_state() == FailoverState::None {
            return cx.fail("ERR No failover in progress.");
        }
        host.abort_failover(cx.alone()?)?;
        cx.reply.ok();
        return Ok(());
    }
    let (request, port) = parse(cx)?;
    if host.failover_state() != FailoverState::None {
        return cx.fail("ERR FAILOVER already in progress.");
    }
    if cx.global().role == Role::Replica {
        return cx.fail("ERR FAILOVER is not valid when server is a replica.");
    }
    let replicas = host.replicas();
    if replicas.is_empty() {
        return cx.fail("ERR FAILOVER requires connected replicas.");
    }
    if request.force && (request.timeout_ms.is_none() || request.to.is_none()) {
        return cx.fail("ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
    }
    if let Some(to) = &request.to {
        let is_target = |host: &str, named: i64| host == to.host && named == port;
        match replicas.iter().find(|replica| is_target(&replica.host, replica.port.into())) {
            None => return cx.fail("ERR FAILOVER target HOST and PORT is not a replica."),
            Some(replica) if replica.state != ReplicaState::Online => {
                return cx.fail("ERR FAILOVER target replica is not online.");
            }
            Some(_) => {}
        }
    }
    host.failover(cx.alone()?, request)?;
    cx.reply.ok();
    Ok(())
}

/// What is asked for, and the port of the target as it was written: one that is none is no replica's, but no error of its own.
fn parse(cx: &Ctx<'_>) -> Result<(FailoverRequest, i64), Stop> {
    let mut request = FailoverRequest::default();
    let mut port = 0;
    let mut at = 1;
    while at < cx.args.len() {
        let more = cx.args.len() - at - 1;
        if cx.word(at, "timeout") && more >= 1 && request.timeout_ms.is_none() {
            request.timeout_ms = match cx.int(at + 1)? {
                ms @ 1.. => Some(ms as u64),
                _ => return cx.fail("ERR FAILOVER timeout must be greater than 0"),
            };
            at += 2;
        } else if cx.word(at, "to") && more >= 2 && request.to.is_none() {
            port = cx.int(at + 2)?;
            let host = String::from_utf8_lossy(cx.args[at + 1]).into_owned();
            request.to = Some(Address { host, port: u16::try_from(port).unwrap_or(0) });
            at += 3;
        } else if cx.word(at, "force") && !request.force {
            request.force = true;
            at += 1;
        } else {
            return Err(Error::Syntax.into());
        }
    }
    Ok((request, port))
}

#[cfg(test)]
mod tests {
    use replication::{Address, FailoverRequest, FailoverState, ReplicaState};

    use crate::global::Role;
    use crate::testing::{Rig, replica, script};

    const FORCE: &str = "-ERR FAILOVER with force option requires both a timeout and target HOST and IP.";

    #[test]
    fn what_is_no_failover() {
        script(&[
            ("FAILOVER", "-ERR FAILOVER requires connected replicas."),
            ("FAILOVER ABORT", "-ERR No failover in progress."),
            ("FAILOVER x", "-ERR syntax error"),
            ("FAILOVER TO", "-ERR syntax error"),
            ("FAILOVER TO a", "-ERR syntax error"),
            ("FAILOVER TO a b", "-ERR value is not an integer or out of range"),
            ("FAILOVER TO a 1 FORCE", "-ERR FAILOVER requires connected replicas."),
            ("FAILOVER TO a 99999", "-ERR FAILOVER requires connected replicas."),
            ("FAILOVER TO a 1 TO b 2", "-ERR syntax error"),
            ("FAILOVER TIMEOUT", "-ERR syntax error"),
            ("FAILOVER TIMEOUT x", "-ERR value is not an integer or out of range"),
            ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0"),
            ("FAILOVER TIMEOUT 1 TIMEOUT 2", "-ERR syntax error"),
            ("FAILOVER ABORT ABORT", "-ERR syntax error"),
            ("FAILOVER ABORT TO a 1", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn a_target_is_a_replica_that_follows() {
        let mut rig = Rig::new();
        rig.host.replication.lock().replicas = vec![replica(2, 0)];
        rig.script(&[
            ("FAILOVER TO 1.2.3.4 1", "-ERR FAILOVER target HOST and PORT is not a replica."),
            ("FAILOVER TO 10.0.0.2 71915", "-ERR FAILOVER target HOST and PORT is not a replica."),
            ("FAILOVER FORCE", FORCE),
            ("FAILOVER TO 10.0.0.2 6379 FORCE", FORCE),
        ]);
        rig.host.replication.lock().replicas[0].state = ReplicaState::WaitsForSnapshot;
        rig.script(&[("FAILOVER TO 10.0.0.2 6379", "-ERR FAILOVER target replica is not online.")]);
        rig.host.replication.lock().replicas[0].state = ReplicaState::Online;
        rig.script(&[
            ("FAILOVER FORCE TIMEOUT 70 TO 10.0.0.2 6379", "+OK"),
            ("FAILOVER", "-ERR FAILOVER already in progress."),
            ("FAILOVER ABORT", "+OK"),
            ("FAILOVER", "+OK"),
        ]);
        let to = Some(Address { host: "10.0.0.2".into(), port: 6379 });
        let forced = FailoverRequest { to, force: true, timeout_ms: Some(70) };
        assert_eq!(rig.host.replication.lock().failovers, [forced, FailoverRequest::default()]);
    }

    #[test]
    fn a_replica_hands_over_nothing() {
        let mut rig = Rig::new();
        rig.world.global.role = Role::Replica;
        rig.script(&[
            ("FAILOVER", "-ERR FAILOVER is not valid when server is a replica."),
            ("FAILOVER x", "-ERR syntax error"),
            ("FAILOVER ABORT", "-ERR No failover in progress."),
        ]);
        rig.host.replication.lock().failover_state = FailoverState::InProgress;
        rig.script(&[("FAILOVER", "-ERR FAILOVER already in progress.")]);
    }
}
