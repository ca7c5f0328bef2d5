//! `RANDOMKEY`.

use keyspace::Cursor;

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

/// How many expired keys are drawn before the next live one is looked for: a draw counts the keys of all shards, so that drawing until
/// a database full of expired keys is empty would take for ever.
const DRAWS_MAX: usize = 16;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let mut expired = None;
    for _ in 0..DRAWS_MAX {
        let Some(entry) = cx.db.space.random_key(cx.db.index, rand::random()) else { break };
        if cx.db.manners.see_expired || !entry.is_expired(cx.db.now) {
            cx.reply.bulk(entry.key());
            return Ok(());
        }
        let name = entry.key().to_vec();
        let key = cx.db.space.key(&name);
        // Looking at it removes it, where this server may do so.
        cx.db.glance(key);
        expired = Some(name);
    }
    // Where expired keys stay and no other is left, one of them is named after all, as Redis does.
    let fallback = expired.filter(|_| cx.db.manners.keep_expired);
    match live_key(cx).or(fallback) {
        Some(name) => cx.reply.bulk(&name),
        None => cx.reply.null(),
    }
    Ok(())
}

/// The first live key from a random place on.
fn live_key(cx: &Ctx<'_>) -> Option<Vec<u8>> {
    const SLICE_KEYS: usize = 64;
    let mut found = None;
    // To the end, and once more from the start.
    for start in [Cursor(rand::random()), Cursor::START] {
        let mut cursor = start;
        loop {
            cursor = cx.db.space.scan(cx.db.index, cursor, SLICE_KEYS, |entry| {
                if found.is_none() && !entry.is_expired(cx.db.now) {
                    found = Some(entry.key().to_vec());
                }
            });
            if found.is_some() {
                return found;
            }
            if cursor == Cursor::START {
                break;
            }
        }
    }
    None
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
    fn the_one_that_lives_among_many_expired_is_found() {
        let mut rig = Rig::new();
        (0..500).for_each(|number| assert_eq!(rig.run(&format!("SET expired:{number} 1 PX 5")), "+OK"));
        rig.script(&[("SET live 1", "+OK")]);
        rig.now.0 += 6;
        for _ in 0..5 {
            assert_eq!(rig.run("RANDOMKEY"), "$4 live");
        }
        rig.script(&[("DEL live", ":1"), ("RANDOMKEY", "$-1")]);
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
