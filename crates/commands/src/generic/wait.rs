//! `WAIT` and `WAITAOF`: until what the client has written is safe in several places.

use resp::Reply;

use crate::blocking::{Block, BlockOn, Safety};
use crate::client::Written;
use crate::context::{Ctx, Host, Outcome};
use crate::error::Error;
use crate::global::Role;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const WAIT: Spec = Spec {
    name: "wait",
    arity: 3,
    flags: Flags::BLOCKING,
    acl: Acl::SLOW.union(Acl::BLOCKING).union(Acl::CONNECTION),
    group: Group::Generic,
    since: "3.0.0",
    summary: "Waits until so many replicas have what this connection has written.",
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    args: &[Arg::integer("numreplicas"), Arg::integer("timeout")],
    side: Side::Wide,
    run: Some(wait),
    ..Spec::NEW
};

pub const WAITAOF: Spec = Spec {
    name: "waitaof",
    arity: 4,
    since: "7.2.0",
    summary: "Waits until the writes before it are safe on the disks of this server and of so many replicas.",
    complexity: "O(1)",
    args: &[Arg::integer("numlocal"), Arg::integer("numreplicas"), Arg::integer("timeout")],
    run: Some(waitaof),
    ..WAIT
};

fn wait(cx: &mut Ctx<'_>) -> Outcome {
    if cx.global().role == Role::Replica {
        return cx.fail(concat!(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be ",
            "writable (which is not the default) writes to replicas are just local and are not propagated."
        ));
    }
    let replicas = usize::try_from(cx.int(1)?).unwrap_or(0);
    let timeout = cx.timeout_ms(2)?;
    let offset = written(cx).stream;
    cx.wait_for(Safety { journal: None, offset, replicas, on_disk: false }, timeout)
}

fn waitaof(cx: &mut Ctx<'_>) -> Outcome {
    let local = cx.int(1)?;
    if !(0..=1).contains(&local) {
        return cx.fail("ERR value is out of range, value must between 0 and 1");
    }
    // As in Redis, what is no number is told the same as what is negative.
    let Some(replicas @ 0..) = resp::number::parse_i64(cx.args[2]) else {
        return cx.fail("ERR value is out of range, must be positive");
    };
    let timeout = cx.timeout_ms(3)?;
    if cx.global().role == Role::Replica {
        return cx.fail(concat!(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not ",
            "propagated."
        ));
    }
    let written = written(cx);
    let journal = Some((written.journal, local > 0));
    let safety = Safety { journal, offset: written.stream, replicas: replicas as usize, on_disk: true };
    if let Some(error) = is_hopeless(&safety, cx.host) {
        return Err(error.into());
    }
    cx.wait_for(safety, timeout)
}

/// Where the client's last write ends.
fn written(cx: &mut Ctx<'_>) -> Written {
    let ends = Written { stream: cx.host.replication().offset(), journal: cx.host.persistence().journal_tail() };
    cx.session.written_until(ends)
}

impl Ctx<'_> {
    /// Waits until this is so, and replies how far it is.
    fn wait_for(&mut self, safety: Safety, timeout: Option<std::time::Duration>) -> Outcome {
        if !self.may_block || is_safe(&safety, self.host) {
            reply_safety(&safety, self.host, self.reply);
            return Ok(());
        }
        if let Some((offset, true)) = safety.journal {
            self.host.persistence().want_durable(offset);
        }
        if safety.replicas > 0 {
            self.host.replication().want_acknowledged();
        }
        self.block(Block {
            on: BlockOn::Safe(safety),
            keys: 0..0,
            timeout,
            on_timeout: |_| unreachable!("the reply says how far it has come: reply_safety()"),
            args: None,
        })
    }
}

fn is_here(offset: u64, host: &dyn Host) -> bool {
    let persistence = host.persistence();
    persistence.is_journal_kept() && persistence.journal_durable() >= offset
}

fn replicas_that_have_it(safety: &Safety, host: &dyn Host) -> usize {
    match safety.on_disk {
        true => host.replication().acknowledged_on_disk(safety.offset),
        false => host.replication().acknowledged(safety.offset),
    }
}

/// Why it will never be safe here.
pub(crate) fn is_hopeless(safety: &Safety, host: &dyn Host) -> Option<Error> {
    let needs_disk = safety.journal.is_some_and(|(_, is_needed)| is_needed);
    (needs_disk && !host.persistence().is_journal_kept())
        .then(|| Error::text("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."))
}

/// Whether somebody has what he has waited for.
pub(crate) fn is_safe(safety: &Safety, host: &dyn Host) -> bool {
    let is_missing_here = safety.journal.is_some_and(|(offset, is_needed)| is_needed && !is_here(offset, host));
    !is_missing_here && (safety.replicas == 0 || replicas_that_have_it(safety, host) >= safety.replicas)
}

/// How far it has come: on how many replicas it is, and for WAITAOF whether it is on the disk here.
pub(crate) fn reply_safety(safety: &Safety, host: &dyn Host, reply: &mut Reply) {
    if let Some((offset, _)) = safety.journal {
        reply.array(2);
        reply.int(i64::from(is_here(offset, host)));
    }
    reply.int(replicas_that_have_it(safety, host) as i64);
}

#[cfg(test)]
mod tests {
    use crate::blocking;
    use crate::global::Role;
    use crate::testing::{Rig, TestJournal, replica, script};

    #[test]
    fn without_replicas() {
        script(&[
            ("WAIT 0 0", ":0"),
            ("WAIT -1 10", ":0"),
            ("WAIT x 0", "-ERR value is not an integer or out of range"),
            ("WAIT 0 x", "-ERR timeout is not an integer or out of range"),
            ("WAIT 1 1.5", "-ERR timeout is not an integer or out of range"),
            ("WAIT 0 -1", "-ERR timeout is negative"),
            ("MULTI", "+OK"),
            ("WAIT 1 1000", "+QUEUED"),
            ("EXEC", "*1 :0"),
        ]);
    }

    #[test]
    fn without_an_append_only_file() {
        script(&[
            ("WAITAOF 0 0 10", "*2 :0 :0"),
            ("WAITAOF 1 0 10", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."),
            ("WAITAOF x y z", "-ERR value is not an integer or out of range"),
            ("WAITAOF 2 -1 z", "-ERR value is out of range, value must between 0 and 1"),
            ("WAITAOF 0 y z", "-ERR value is out of range, must be positive"),
            ("WAITAOF 0 -1 z", "-ERR value is out of range, must be positive"),
            ("WAITAOF 1 0 z", "-ERR timeout is not an integer or out of range"),
            ("WAITAOF 0 0 -1", "-ERR timeout is negative"),
        ]);
    }

    #[test]
    fn replicas_do_not_wait() {
        let mut rig = Rig::new();
        rig.world.global.role = Role::Replica;
        for line in ["WAIT x 1", "WAIT 1 x"] {
            assert!(rig.run(line).starts_with("-ERR WAIT cannot be used with replica instances. "), "{line}");
        }
        for (line, reply) in [
            ("WAITAOF 0 x 1", "-ERR value is out of range, must be positive"),
            ("WAITAOF 0 0 x", "-ERR timeout is not an integer or out of range"),
            ("WAITAOF 1 1 1", "-ERR WAITAOF cannot be used with replica instances. "),
        ] {
            assert!(rig.run(line).starts_with(reply), "{line}");
        }
    }

    fn serve(rig: &mut Rig) -> Vec<(u64, String)> {
        let stats = rig.host.stats[0].clone();
        blocking::serve_safe(&mut rig.world.global, &rig.host, &stats);
        rig.unblocked()
    }

    #[test]
    fn a_client_waits_for_its_own_last_write() {
        let mut rig = Rig::new();
        rig.host.replication.lock().replicas = vec![replica(2, 0), replica(3, 50)];
        rig.host.replication.lock().offset = 100;
        // It has written nothing: whatever others have written is not its business.
        rig.script(&[("WAIT 2 0", ":2"), ("SET a 1", "+OK"), ("WAIT 2 0", "BLOCKED")]);
        rig.host.replication.lock().offset = 200;
        rig.client(2).script(&[("GET a", "$1 1"), ("WAIT 9 100", "BLOCKED")]);
        rig.client(3).script(&[("SET b 1", "+OK"), ("WAIT 1 0", "BLOCKED")]);
        rig.host.replication.lock().replicas[0].offset = 100;
        assert_eq!(serve(&mut rig), []);
        rig.host.replication.lock().replicas[1].offset = 200;
        assert_eq!(serve(&mut rig), [(1, ":2".into()), (3, ":1".into())]);
        rig.time_out(2);
        assert_eq!(rig.unblocked(), [(2, ":2".into())]);
        // Nothing was written since.
        rig.host.replication.lock().offset = 300;
        rig.client(3).script(&[("WAIT 1 0", ":1")]);
    }

    #[test]
    fn waitaof_counts_what_replicas_have_on_disk() {
        let mut rig = Rig::new();
        rig.host.replication.lock().replicas = vec![replica(2, 100)];
        rig.host.replication.lock().offset = 100;
        rig.script(&[("SET a 1", "+OK"), ("WAIT 1 0", ":1"), ("WAITAOF 0 1 0", "BLOCKED")]);
        rig.host.replication.lock().replicas[0].disk_offset = 100;
        assert_eq!(serve(&mut rig), [(1, "*2 :0 :1".into())]);
    }

    /// Who has written nothing need not wait until what others have written is on disk.
    #[test]
    fn waitaof_is_about_ones_own_writes() {
        let mut rig = Rig::new();
        *rig.host.journal.lock() = Some(TestJournal { tail: 100, durable: 50 });
        rig.script(&[("WAITAOF 1 0 0", "*2 :1 :0"), ("SET a 1", "+OK"), ("WAITAOF 0 0 0", "*2 :0 :0")]);
        rig.client(2).script(&[("GET a", "$1 1"), ("WAITAOF 1 0 0", "*2 :1 :0")]);
        rig.client(1).script(&[("WAITAOF 1 0 0", "BLOCKED")]);
        *rig.host.journal.lock() = Some(TestJournal { tail: 200, durable: 100 });
        assert_eq!(serve(&mut rig), [(1, "*2 :1 :0".into())]);
        // Nothing was written since.
        rig.client(1).script(&[("WAITAOF 1 0 0", "*2 :1 :0")]);
    }

    #[test]
    fn who_waits_is_told_when_the_server_becomes_a_replica() {
        let mut rig = Rig::new();
        rig.host.replication.lock().replicas = vec![replica(2, 0)];
        rig.host.replication.lock().offset = 100;
        rig.script(&[("SET a 1", "+OK"), ("WAIT 1 0", "BLOCKED")]);
        assert_eq!(rig.world.global.waiters.for_role_change(), [1]);
        rig.client(2).script(&[("CLIENT UNBLOCK 1 ERROR", ":1")]);
        assert_eq!(rig.unblocked(), [(1, "-UNBLOCKED client unblocked via CLIENT UNBLOCK".into())]);
    }
}
