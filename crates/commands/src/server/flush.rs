//! `FLUSHALL` and `FLUSHDB`.

use config::directives;
use keyspace::DbIndex;

use crate::blocking::Block;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::persistence::Wish;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const FLUSHALL: Spec = Spec {
    name: "flushall",
    arity: -1,
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Deletes the keys of all databases.",
    complexity: "O(N), N being the number of keys in all databases",
    history: &[("4.0.0", "Option `ASYNC`."), ("6.2.0", "Option `SYNC`.")],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    args: &[Arg::one_of(
        "flush-type",
        &[Arg::word("async", "ASYNC").since("4.0.0"), Arg::word("sync", "SYNC").since("6.2.0")],
    )
    .optional()],
    side: Side::Wide,
    run: Some(flushall),
    ..Spec::NEW
};

pub const FLUSHDB: Spec = Spec {
    name: "flushdb",
    arity: -1,
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Deletes the keys of the database.",
    complexity: "O(N), N being the number of keys in the database",
    history: &[("4.0.0", "Option `ASYNC`."), ("6.2.0", "Option `SYNC`.")],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    args: &[Arg::one_of(
        "flush-type",
        &[Arg::word("async", "ASYNC").since("4.0.0"), Arg::word("sync", "SYNC").since("6.2.0")],
    )
    .optional()],
    side: Side::Wide,
    run: Some(flushdb),
    ..Spec::NEW
};

/// Keys are unlinked at once in either form, and freed on another thread: a flush that made everybody wait until they are
/// freed would be the stall that this server promises not to have. Nobody can tell the difference by a reply.
fn flush(cx: &mut Ctx<'_>, all: bool) -> Outcome {
    match cx.args.len() {
        1 => {}
        2 if cx.word(1, "SYNC") || cx.word(1, "ASYNC") => {}
        _ => return Err(Error::Syntax.into()),
    }
    let databases: Vec<DbIndex> =
        if all { (0..cx.global().settings.databases).map(DbIndex).collect() } else { vec![cx.db.index] };
    // One by one: a key that is watched in one database has nothing to do with the others.
    databases.iter().try_for_each(|db| cx.touch_databases(&[*db]))?;
    // Redis lets the client wait while it frees, unless it was told not to: then this is over before the reply is written.
    let is_lazy = match cx.args.len() {
        1 => cx.global().config.get(directives::LAZYFREE_LAZY_USER_FLUSH),
        _ => cx.word(1, "ASYNC"),
    };
    cx.invalidate_everything(cx.may_block && !is_lazy);
    let dropped = if all { cx.db.space.flush_all() } else { cx.db.space.flush_db(cx.db.index) };
    databases.into_iter().for_each(|index| cx.db.signal_database(index));
    // A small flush is one change for the save points, as in Redis.
    cx.db.changed((dropped.len() as u64).max(1));
    if dropped.len() <= FREED_AT_ONCE_KEYS_MAX {
        drop(dropped);
    } else {
        cx.host.free_later(dropped);
    }
    Ok(())
}

/// Up to this many keys are freed here: handing them over would cost more.
const FREED_AT_ONCE_KEYS_MAX: usize = 256;

fn flushall(cx: &mut Ctx<'_>) -> Outcome {
    flush(cx, true)?;
    let wish = if cx.may_block { Wish::Now } else { Wish::AfterTransaction };
    let client_id = cx.session.client.id;
    if cx.host.persistence().flushed_all(cx.alone()?, wish, client_id) {
        // It has done what it has to do, and only its reply is to come.
        cx.db.effects.instead(cx.args);
        cx.session.note_changed(true);
        return cx.block(Block::on_job());
    }
    cx.reply.ok();
    Ok(())
}

fn flushdb(cx: &mut Ctx<'_>) -> Outcome {
    flush(cx, false)?;
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    /// It is told, and the journal has it, before it waits for the snapshot.
    #[test]
    fn where_there_are_save_points_it_waits_for_the_empty_snapshot() {
        let mut rig = Rig::new();
        rig.readers.journal = true;
        *rig.host.saves_flushes.lock() = true;
        rig.script(&[("SET a 1", "+OK")]);
        rig.take_effects();
        rig.script(&[("FLUSHALL ASYNC", "BLOCKED")]);
        assert_eq!(rig.take_effects(), "FLUSHALL ASYNC");
        rig.client(2).script(&[("DBSIZE", ":0"), ("MULTI", "+OK"), ("FLUSHALL", "+QUEUED"), ("EXEC", "*1 +OK")]);
    }

    #[test]
    fn one_database_or_all() {
        script(&[
            ("MSET a 1 b 2", "+OK"),
            ("SELECT 1", "+OK"),
            ("MSET c 1 d 2", "+OK"),
            ("FLUSHDB", "+OK"),
            ("DBSIZE", ":0"),
            ("SELECT 0", "+OK"),
            ("DBSIZE", ":2"),
            ("FLUSHALL ASYNC", "+OK"),
            ("DBSIZE", ":0"),
            ("FLUSHALL SYNC", "+OK"),
            ("FLUSHALL ASYNC SYNC", "-ERR syntax error"),
            ("FLUSHDB x", "-ERR syntax error"),
        ]);
    }
}
