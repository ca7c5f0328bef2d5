//! `MOVE`.

use keyspace::DbIndex;

use crate::connection::select::database;
use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::generic::SAME_OBJECT;
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "move",
    arity: 3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE), 1)],
    summary: "Takes a key from this database into another.",
    args: &[Arg::key("key", 0), Arg::integer("db")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let target = database(cx, 2)?;
    if target == cx.db.index {
        return cx.fail(SAME_OBJECT);
    }
    let moved = cx.db.glance(key).is_some() && is_free(cx, target);
    if moved {
        let value = cx.db.take(key).expect("it was there, and this access is exclusive");
        cx.db.put(target, key, value);
        cx.db.notify(EventClass::GENERIC, "move_from", key.bytes());
        let source = cx.db.select(target);
        cx.db.notify(EventClass::GENERIC, "move_to", key.bytes());
        cx.db.select(source);
    }
    cx.db.changed(u64::from(moved));
    cx.reply.int(i64::from(moved));
    Ok(())
}

/// Whether the other database has no such key.
fn is_free(cx: &mut Ctx<'_>, target: DbIndex) -> bool {
    // The shard of a key is the same in every database, so this access reaches the key there too.
    let source = cx.db.select(target);
    let free = cx.db.glance(cx.keys[0]).is_none();
    cx.db.select(source);
    free
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn between_databases() {
        script(&[
            ("SET a 1 EX 100", "+OK"),
            ("MOVE a 0", "-ERR source and destination objects are the same"),
            ("MOVE zz 0", "-ERR source and destination objects are the same"),
            ("MOVE a 16", "-ERR DB index is out of range"),
            ("MOVE a -1", "-ERR DB index is out of range"),
            ("MOVE zz x", "-ERR value is not an integer or out of range"),
            ("MOVE a 4294967296", "-ERR value is out of range, value must between -2147483648 and 2147483647"),
            ("MOVE zz 2", ":0"),
            ("OBJECT IDLETIME a", ":0"),
            ("MOVE a 2", ":1"),
            ("EXISTS a", ":0"),
            ("SET a 2", "+OK"),
            ("MOVE a 2", ":0"),
            ("GET a", "$1 2"),
            ("SELECT 2", "+OK"),
            ("GET a", "$1 1"),
            ("TTL a", ":100"),
        ]);
    }
}
