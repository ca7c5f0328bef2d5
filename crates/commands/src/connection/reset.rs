//! `RESET`.

use keyspace::DbIndex;
use resp::Proto;

use crate::client::{ClientFlags, ReplyMode};
use crate::context::{Ctx, Outcome, Reach};
use crate::pubsub::unsubscribe_from_all;
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "reset",
    flags: Flags::NOSCRIPT
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::FAST)
        .union(Flags::NO_AUTH)
        .union(Flags::ALLOW_BUSY),
    acl: Acl::FAST.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "6.2.0",
    summary: "Puts the connection back into the state of a new one.",
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    cx.unwatch()?;
    cx.switch_tracking_off()?;
    cx.session.end_transaction();
    crate::server::monitor::leave(cx)?;
    unsubscribe_from_all(cx);
    let access = match &cx.reach {
        Reach::Narrow(global) => &global.access,
        Reach::Wide(global) => &global.access,
    };
    let session = &mut *cx.session;
    session.select(DbIndex(0));
    session.become_stranger(access);
    let client = &session.client;
    client.set_proto(Proto::Resp2, cx.reply);
    // The library's name and version and the declared capabilities stay, as in Redis and Valkey.
    client.text.lock().name.clear();
    for flag in [ClientFlags::NO_EVICT, ClientFlags::NO_TOUCH, ClientFlags::READONLY, ClientFlags::IMPORT_SOURCE] {
        client.set_flag(flag, false);
    }
    // RESET lifts CLIENT REPLY OFF and is answered; after CLIENT REPLY SKIP its answer is skipped like any other.
    if session.reply_mode == ReplyMode::Off {
        session.reply_mode = ReplyMode::On;
        cx.reply.set_skip(false);
    }
    cx.reply.simple("RESET");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn a_connection_like_new_but_for_what_describes_the_library() {
        let mut rig = Rig::new();
        rig.script(&[
            ("SELECT 5", "+OK"),
            ("CLIENT SETNAME me", "+OK"),
            ("CLIENT SETINFO LIB-NAME jedis", "+OK"),
            ("CLIENT NO-EVICT ON", "+OK"),
            ("CLIENT NO-TOUCH ON", "+OK"),
            ("RESET", "+RESET"),
            ("CLIENT GETNAME", "$-1"),
        ]);
        rig.run("HELLO 3");
        rig.script(&[("RESET", "+RESET"), ("GET zz", "$-1")]);
        let line = rig.run("CLIENT INFO");
        assert!(line.contains(" flags=N db=0 ") && line.contains(" lib-name=jedis "), "{line}");
    }

    #[test]
    fn where_there_is_a_password_it_must_be_said_again() {
        let mut rig = Rig::new();
        rig.script(&[("CONFIG SET requirepass secret", "+OK"), ("RESET", "+RESET")]);
        assert!(!rig.session.authenticated);
    }
}
