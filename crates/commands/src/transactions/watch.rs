//! `WATCH` and `UNWATCH`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

const FLAGS: Flags =
    Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::FAST).union(Flags::ALLOW_BUSY);

pub const WATCH: Spec = Spec {
    name: "watch",
    arity: -2,
    flags: FLAGS,
    acl: Acl::FAST.union(Acl::TRANSACTION),
    keys: &[KeySpec::range(KeyFlags::RO, 1, -1, 1)],
    group: Group::Transactions,
    since: "2.2.0",
    summary: "Makes the next EXEC do nothing if one of these keys changes before.",
    complexity: "O(1) a key",
    args: &[Arg::key("key", 0).multiple()],
    run: Some(watch),
    ..Spec::NEW
};

pub const UNWATCH: Spec = Spec {
    name: "unwatch",
    arity: 1,
    flags: FLAGS,
    acl: Acl::FAST.union(Acl::TRANSACTION),
    group: Group::Transactions,
    since: "2.2.0",
    summary: "Forgets all keys that are watched.",
    run: Some(unwatch),
    ..Spec::NEW
};

fn watch(cx: &mut Ctx<'_>) -> Outcome {
    if cx.session.transaction.is_some() {
        return cx.fail("ERR WATCH inside MULTI is not allowed");
    }
    let db = cx.db.index;
    cx.global_mut()?;
    for &key in cx.keys {
        let has_expired = cx.db.has_expired(key);
        let client = cx.session.client.clone();
        cx.global_mut()?.watches.add(&client, db, key, has_expired);
    }
    cx.reply.ok();
    Ok(())
}

fn unwatch(cx: &mut Ctx<'_>) -> Outcome {
    cx.unwatch()?;
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use keyspace::Millis;

    use crate::client::ClientFlags;
    use crate::testing::Rig;

    /// What the second client does, and whether the first one's transaction runs after that.
    #[track_caller]
    fn between(before: &[&str], watched: &str, command: &str, runs: bool) {
        for wide in [false, true] {
            let mut rig = Rig { wide, ..Rig::default() };
            before.iter().for_each(|line| drop(rig.run(line)));
            rig.run(watched);
            rig.client(2).run(command);
            rig.client(1).run("MULTI");
            rig.run("PING");
            let expected = if runs { "*1 +PONG" } else { "*-1" };
            assert_eq!(rig.run("EXEC"), expected, "{before:?}, {watched}, then {command}");
            // Watched no longer.
            rig.client(2).run(command);
            rig.client(1).run("MULTI");
            assert_eq!(rig.run("EXEC"), "*0");
        }
    }

    #[test]
    fn what_touches_a_key() {
        between(&[], "WATCH a", "PING", true);
        between(&[], "WATCH a", "SET b 1", true);
        between(&[], "WATCH a", "SET a 1", false);
        between(&["SET a 1"], "WATCH a", "SET a 1", false);
        between(&["SET a 1"], "WATCH a", "GET a", true);
        between(&["SET a 1"], "WATCH a b", "APPEND a 2", false);
        between(&["SET a 1"], "WATCH a", "DEL a", false);
        between(&["SET a 1"], "WATCH b", "DEL a b", true);
        between(&["SET a 1"], "WATCH a", "EXPIRE a 100", false);
        between(&["SET a 1"], "WATCH b", "RENAME a b", false);
        between(&["SADD a x"], "WATCH a", "SADD a x", true);
        between(&["SADD a x"], "WATCH a", "SADD a y", false);
        between(&["SADD a x"], "WATCH a", "SREM a y", true);
        between(&["RPUSH a x"], "WATCH a", "LPOP a", false);
        between(&["HSET a f v"], "WATCH a", "HSET a f w", false);
        between(&["SET a 1"], "WATCH a", "INCR a", false);
        between(&["SET a x"], "WATCH a", "INCR a", true);
        between(&["SET a 1"], "WATCH a", "FLUSHALL", false);
        between(&[], "WATCH a", "FLUSHALL", true);
        between(&["SET a 1"], "WATCH a", "FLUSHDB", false);
        between(&["SET a 1"], "WATCH a", "SWAPDB 0 1", false);
        between(&[], "WATCH a", "SWAPDB 0 1", true);
        between(&["SET a 1"], "WATCH a", "MOVE a 1", false);
        between(&["SET b 1"], "WATCH a", "COPY b a", false);
    }

    #[test]
    fn time_touches_a_key() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1 PX 100", "+OK"), ("WATCH a", "+OK")]);
        rig.now = Millis(rig.now.0 + 1000);
        rig.script(&[("MULTI", "+OK"), ("EXEC", "*-1")]);
        // What was gone before counts as missing.
        rig.script(&[("SET a 1 PX 100", "+OK")]);
        rig.now = Millis(rig.now.0 + 1000);
        rig.script(&[("WATCH a", "+OK"), ("MULTI", "+OK"), ("EXEC", "*0")]);
    }

    /// It stays there until somebody meets it, as in Redis, and is missing to who watches it.
    #[test]
    fn what_has_expired_before() {
        // What then happens, and whether the transaction runs.
        for (then, runs) in [
            (&["GET a"][..], true),
            (&["DEL a"], true),
            (&["SINTERSTORE a none"], true),
            (&["EXPIRE a 100"], true),
            (&["FLUSHALL"], true),
            (&["SWAPDB 0 1"], true),
            (&["SWAPDB 0 1", "SWAPDB 0 1", "GET a"], true),
            (&["SET a 1"], false),
            (&["GET a", "SET a 1"], false),
            (&["SET b 1", "RENAME b a"], false),
            (&["SWAPDB 0 1", "SET a 1"], false),
            (&["SELECT 1", "SET a 1", "SWAPDB 0 1"], false),
            (&["SET b 1", "MULTI", "PING", "GET a", "EXEC"], true),
        ] {
            for wide in [false, true] {
                let mut rig = Rig { wide, ..Rig::default() };
                rig.run("SET a 1 PX 100");
                rig.now = Millis(rig.now.0 + 1000);
                rig.script(&[("WATCH a", "+OK"), ("DBSIZE", ":1")]);
                then.iter().for_each(|line| drop(rig.client(2).run(line)));
                rig.client(1).run("MULTI");
                assert_eq!(rig.run("EXEC"), if runs { "*0" } else { "*-1" }, "{then:?}");
            }
        }
    }

    #[test]
    fn what_has_expired_comes_from_another_database() {
        let mut rig = Rig::new();
        rig.script(&[("SELECT 1", "+OK"), ("SET a 1 PX 100", "+OK"), ("SELECT 0", "+OK")]);
        rig.now = Millis(rig.now.0 + 1000);
        rig.script(&[("WATCH a", "+OK"), ("SWAPDB 0 1", "+OK"), ("DBSIZE", ":1"), ("MULTI", "+OK"), ("EXEC", "*0")]);
        // One that was alive goes.
        rig.script(&[("SWAPDB 0 1", "+OK"), ("SET a 1", "+OK"), ("WATCH a", "+OK"), ("SWAPDB 0 1", "+OK")]);
        rig.script(&[("MULTI", "+OK"), ("EXEC", "*-1")]);
    }

    /// EXEC says that a watched key has expired, and leaves it where it is.
    #[test]
    fn exec_removes_nothing() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1 PX 100", "+OK"), ("WATCH a", "+OK")]);
        rig.now = Millis(rig.now.0 + 1000);
        rig.script(&[("MULTI", "+OK"), ("EXEC", "*-1"), ("DBSIZE", ":1"), ("GET a", "$-1"), ("DBSIZE", ":0")]);
    }

    /// Before its access ends: an EXEC on another thread may be the next one.
    #[test]
    fn a_client_that_begins_to_wait_may_find_that_the_time_has_come() {
        let dirty = |rig: &mut Rig| rig.client(1).session.client.flags().contains(ClientFlags::DIRTY_WATCH);
        let mut rig = Rig::new();
        rig.script(&[("RPUSH a 1", ":1"), ("PEXPIRE a 100", ":1"), ("WATCH a", "+OK")]);
        rig.now = Millis(rig.now.0 + 1000);
        rig.client(2).run("BLPOP a 0");
        assert!(dirty(&mut rig));
        rig.script(&[("MULTI", "+OK"), ("EXEC", "*-1")]);
    }

    /// WATCH of a key that is watched already does nothing, however many others are.
    #[test]
    fn many_keys() {
        let mut rig = Rig::new();
        let keys: Vec<String> = (0..1000).map(|number| format!("k{number}")).collect();
        for _ in 0..2 {
            rig.run(&format!("WATCH {}", keys.join(" ")));
            assert_eq!(rig.world.global.watches.count(), (1, 1000));
        }
        rig.client(2).run("WATCH k5 k5");
        assert_eq!(rig.world.global.watches.count(), (2, 1000));
        rig.client(1).run("UNWATCH");
        assert_eq!(rig.world.global.watches.count(), (1, 1));
    }

    /// Redis 8.2 gives up all its keys with the first that is touched.
    #[test]
    fn who_has_lost_is_shown_to_watch_nothing() {
        let mut rig = Rig::new();
        let shown = |rig: &mut Rig| {
            let info = rig.run("CLIENT INFO");
            info.split_ascii_whitespace().find(|word| word.starts_with("watch=")).map(str::to_owned)
        };
        rig.script(&[("WATCH a b", "+OK")]);
        assert_eq!(shown(&mut rig).as_deref(), Some("watch=2"));
        rig.script(&[("SET a 1", "+OK")]);
        assert_eq!(shown(&mut rig).as_deref(), Some("watch=0"));
    }

    #[test]
    fn one_may_touch_ones_own() {
        let mut rig = Rig::new();
        rig.script(&[
            ("WATCH a", "+OK"),
            ("SET a 1", "+OK"),
            ("MULTI", "+OK"),
            ("EXEC", "*-1"),
            ("WATCH a", "+OK"),
            ("SET a 1", "+OK"),
            ("UNWATCH", "+OK"),
            ("MULTI", "+OK"),
            ("EXEC", "*0"),
            ("WATCH a", "+OK"),
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
            ("EXEC", "*1 +OK"),
        ]);
    }
}
