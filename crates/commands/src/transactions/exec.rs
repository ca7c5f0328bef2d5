//! `EXEC`.

use crate::context::{Ctx, Outcome, Room};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Flags, Group, Side, Spec};
use crate::transaction::discarded_because_of;

pub const SPEC: Spec = Spec {
    name: "exec",
    arity: 1,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::SKIP_SLOWLOG),
    acl: Acl::SLOW.union(Acl::TRANSACTION),
    group: Group::Transactions,
    since: "1.2.0",
    summary: "Runs what a transaction has queued, with nothing in between.",
    complexity: "That of the queued commands together",
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let Some(transaction) = &cx.session.transaction else {
        return cx.fail("ERR EXEC without MULTI");
    };
    let broken = transaction.is_broken();
    let touched = cx.a_watched_key_was_touched();
    cx.unwatch()?;
    let transaction = cx.session.end_transaction().expect("it was there just now");
    if broken {
        return Err(Error::text("EXECABORT Transaction discarded because of previous errors.").into());
    }
    // Here as a whole, or not at all: a disk begins to fail at any instant.
    if transaction.flags().contains(Flags::WRITE)
        && let Some(error) = cx.host.persistence().refusal(cx.global())
    {
        return Err(Error::Bytes(discarded_because_of(&error.render())).into());
    }
    if touched {
        cx.reply.null_array();
        return Ok(());
    }
    if transaction.flags().contains(Flags::DENYOOM) && cx.host.room(cx.global()) == Room::Out {
        let reason = Error::OutOfMemory.render().into_owned();
        let text = format!("EXECABORT Transaction discarded because of: {}", String::from_utf8_lossy(&reason));
        return Err(Error::string(text).into());
    }
    Err(Stop::Execute(transaction))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, effects, script};

    #[test]
    fn runs_what_was_queued() {
        script(&[
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
            ("INCR a", "+QUEUED"),
            ("LPUSH a x", "+QUEUED"),
            ("SELECT 1", "+QUEUED"),
            ("GET a", "+QUEUED"),
            ("BLPOP none 0", "+QUEUED"),
            ("EXEC", "*6 +OK :2 -WRONGTYPE Operation against a key holding the wrong kind of value +OK $-1 *-1"),
            ("SELECT 0", "+OK"),
            ("GET a", "$1 2"),
            ("MULTI", "+OK"),
            ("EXEC", "*0"),
        ]);
    }

    #[test]
    fn a_refused_command_breaks_it() {
        script(&[
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
            ("SET a", "-ERR wrong number of arguments for 'set' command"),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("GET a", "$-1"),
            ("MULTI", "+OK"),
            ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with:"),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("MULTI", "+OK"),
            ("WATCH a", "-ERR WATCH inside MULTI is not allowed"),
            ("GET a", "+QUEUED"),
            ("EXEC", "*1 $-1"),
        ]);
    }

    #[test]
    fn what_needs_memory_is_refused_as_a_whole() {
        let mut rig = Rig::new();
        rig.client(1).script(&[("MULTI", "+OK"), ("GET a", "+QUEUED"), ("SET a 1", "+QUEUED")]);
        rig.client(2).script(&[("MULTI", "+OK"), ("DEL a", "+QUEUED"), ("CONFIG SET maxmemory 1", "+QUEUED")]);
        rig.client(2).script(&[("EXEC", "*2 :0 +OK")]);
        rig.client(1).script(&[
            (
                "EXEC",
                "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.",
            ),
            ("GET a", "$-1"),
        ]);
    }

    #[test]
    fn one_unit_of_effects() {
        effects(&[
            ("MULTI", ""),
            ("SET a 1", ""),
            ("GET a", ""),
            ("INCR a", ""),
            ("EXEC", "SET a 1; INCR a"),
            ("SET b 1", "SET b 1"),
        ]);
    }

    #[test]
    fn others_are_served_behind_it() {
        let mut rig = Rig::new();
        rig.client(2).run("BLPOP l 0");
        rig.client(1).script(&[
            ("MULTI", "+OK"),
            ("RPUSH l a b", "+QUEUED"),
            ("LPOP l", "+QUEUED"),
            ("LLEN l", "+QUEUED"),
            ("EXEC", "*3 :2 $1 a :1"),
        ]);
        assert_eq!(rig.unblocked(), [(2, "*2 $1 l $1 b".to_owned())]);
    }
}
