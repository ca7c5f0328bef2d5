//! `RANDOMKEY`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "randomkey",
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
    summary: "Returns the name of some key of the database.",
    tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

/// How many expired keys are passed over before one of them is named after all, where they may not be removed: a replica
/// whose keys have all expired would otherwise look for ever.
const EXPIRED_KEYS_PASSED_MAX: usize = 100;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let index = cx.db.index;
    let mut passed = 0;
    while let Some(entry) = cx.db.space.random_key(index, rand::random()) {
        let expired = entry.is_expired(cx.db.now) && !cx.db.manners.see_expired;
        if !expired || passed == EXPIRED_KEYS_PASSED_MAX {
            cx.reply.bulk(entry.key());
            return Ok(());
        }
        passed += usize::from(cx.db.manners.keep_expired);
        // Looking at it removes it, where this server may do so.
        let name = entry.key().to_vec();
        let key = cx.db.space.key(&name);
        cx.db.glance(key);
    }
    cx.reply.null();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn an_expired_key_is_never_named() {
        let mut rig = Rig::new();
        rig.script(&[("RANDOMKEY", "$-1"), ("SET a 1 PX 5", "+OK"), ("RANDOMKEY", "$1 a"), ("SET b 1", "+OK")]);
        rig.now.0 += 6;
        for _ in 0..20 {
            assert_eq!(rig.run("RANDOMKEY"), "$1 b");
        }
        rig.script(&[("DEL b", ":1"), ("SET c 1 PX 5", "+OK")]);
        rig.now.0 += 6;
        rig.script(&[("RANDOMKEY", "$-1")]);
    }

    #[test]
    fn where_expired_keys_stay_the_search_ends() {
        let mut rig = Rig::new();
        rig.script(&[("SET a 1 PX 5", "+OK")]);
        rig.now.0 += 6;
        rig.world.global.settings.import_mode = true;
        rig.script(&[("RANDOMKEY", "$1 a")]);
    }
}
