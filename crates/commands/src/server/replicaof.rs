//! `REPLICAOF` and `SLAVEOF`, its old name.

use config::directives;
use replication::{Address, FailoverState};

use crate::context::{Ctx, Outcome};
use crate::error::Stop;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const REPLICAOF: Spec = Spec {
    name: "replicaof",
    arity: 3,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::STALE).union(Flags::NO_ASYNC_LOADING),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "5.0.0",
    summary: "Makes the server a copy of another one, or (`NO ONE`) a primary.",
    args: &[Arg::one_of(
        "args",
        &[
            Arg::block("host-port", &[Arg::string("host"), Arg::integer("port")]),
            Arg::block("no-one", &[Arg::word("no", "NO"), Arg::word("one", "ONE")]),
        ],
    )],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

pub const SLAVEOF: Spec = Spec {
    name: "slaveof",
    since: "1.0.0",
    doc_flags: &["deprecated"],
    deprecated_since: Some("5.0.0"),
    replaced_by: Some("`REPLICAOF`"),
    ..REPLICAOF
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let host = cx.host.replication();
    if host.failover_state() != FailoverState::None {
        return cx.fail("ERR REPLICAOF not allowed while failing over.");
    }
    let primary = address(cx)?;
    let words = cx.args[1..].to_vec();
    let is_named = primary.is_some();
    let is_new = host.follow(cx.alone()?, primary)?;
    // CONFIG GET shows it, and CONFIG REWRITE keeps it.
    let known = cx.global_mut()?.config.set(directives::REPLICAOF, &words);
    known.expect("the directive takes what the command takes");
    if is_new || !is_named {
        cx.reply.ok();
    } else {
        cx.reply.simple("OK Already connected to specified master");
    }
    Ok(())
}

/// Where the new primary is; `None` for `NO ONE`.
fn address(cx: &Ctx<'_>) -> Result<Option<Address>, Stop> {
    if cx.word(1, "no") && cx.word(2, "one") {
        return Ok(None);
    }
    match resp::number::parse_i64(cx.args[2]).and_then(|port| u16::try_from(port).ok()) {
        Some(port) => Ok(Some(Address { host: String::from_utf8_lossy(cx.args[1]).into_owned(), port })),
        None => cx.fail("ERR Invalid master port"),
    }
}

#[cfg(test)]
mod tests {
    use replication::FailoverState;

    use crate::testing::{Rig, script};

    #[test]
    fn what_is_no_primary() {
        script(&[
            ("REPLICAOF localhost abc", "-ERR Invalid master port"),
            ("REPLICAOF localhost -1", "-ERR Invalid master port"),
            ("SLAVEOF localhost 65536", "-ERR Invalid master port"),
            ("REPLICAOF no two", "-ERR Invalid master port"),
            ("REPLICAOF localhost", "-ERR wrong number of arguments for 'replicaof' command"),
        ]);
    }

    #[test]
    fn the_configuration_follows() {
        script(&[
            ("CONFIG GET replicaof", "*2 $9 replicaof $0"),
            ("REPLICAOF 10.0.0.1 6379", "+OK"),
            ("CONFIG GET replicaof", "*2 $9 replicaof $13 10.0.0.1 6379"),
            ("SLAVEOF 10.0.0.1 6379", "+OK Already connected to specified master"),
            ("REPLICAOF 10.0.0.2 6379", "+OK"),
            ("SLAVEOF No OnE", "+OK"),
            ("REPLICAOF NO ONE", "+OK"),
            ("CONFIG GET slaveof", "*2 $7 slaveof $0"),
        ]);
    }

    #[test]
    fn not_during_a_failover() {
        let mut rig = Rig::new();
        rig.host.replication.lock().failover_state = FailoverState::WaitsForSync;
        rig.script(&[("REPLICAOF NO ONE", "-ERR REPLICAOF not allowed while failing over.")]);
    }
}
