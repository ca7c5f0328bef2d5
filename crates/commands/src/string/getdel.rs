//! `GETDEL`.

use super::put_bulk;
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "getdel",
    arity: 2,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::STRING).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1)],
    group: Group::String,
    since: "6.2.0",
    summary: "Returns the string at a key and deletes the key.",
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let Some(entry) = cx.db.read(cx.keys[0]) else {
        cx.reply.null();
        return Ok(());
    };
    put_bulk(cx.reply, &entry.string()?);
    cx.db.delete(cx.keys[0]);
    cx.db.changed(1);
    cx.db.effects.instead(&[b"DEL", cx.keys[0].bytes()]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn takes_it_away() {
        script(&[("GETDEL a", "$-1"), ("SET a 1", "+OK"), ("GETDEL a", "$1 1"), ("EXISTS a", ":0")]);
    }
}
