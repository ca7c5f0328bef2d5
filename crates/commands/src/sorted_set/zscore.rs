//! `ZSCORE` and `ZMSCORE`.

use keyspace::SortedSet;
use resp::Reply;

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const ZSCORE: Spec = Spec {
    name: "zscore",
    arity: 3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "1.2.0",
    summary: "Returns the score of a member.",
    complexity: "O(1)",
    args: &[Arg::key("key", 0), Arg::string("member")],
    element_arg: 2,
    run: Some(zscore),
    ..Spec::NEW
};

pub const ZMSCORE: Spec = Spec {
    name: "zmscore",
    arity: -3,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::SORTEDSET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::SortedSet,
    since: "6.2.0",
    summary: "Returns the scores of several members.",
    complexity: "O(N), N being the number of members given",
    args: &[Arg::key("key", 0), Arg::string("member").multiple()],
    element_arg: 2,
    run: Some(zmscore),
    ..Spec::NEW
};

fn zscore(cx: &mut Ctx<'_>) -> Outcome {
    let set = cx.db.read_as::<SortedSet>(cx.keys[0])?;
    put(cx.reply, set.and_then(|set| set.score(cx.args[2])));
    Ok(())
}

fn zmscore(cx: &mut Ctx<'_>) -> Outcome {
    let set = cx.db.read_as::<SortedSet>(cx.keys[0])?;
    cx.reply.array(cx.args.len() - 2);
    for member in &cx.args[2..] {
        put(cx.reply, set.as_ref().and_then(|set| set.score(member)));
    }
    Ok(())
}

fn put(reply: &mut Reply, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::encodings;
    use crate::testing::Rig;

    #[test]
    fn scores() {
        encodings(&[
            ("ZADD z 1.5 a 1e20 b inf c 1187562731055523.75 17", ":4"),
            ("ZSCORE z a", "$3 1.5"),
            ("ZSCORE z 17", "$18 1187562731055523.7"),
            ("ZSCORE z no", "$-1"),
            ("ZMSCORE z a no b c", "*4 $3 1.5 $-1 $5 1e+20 $3 inf"),
            ("ZMSCORE no a", "*1 $-1"),
            (
                "HELLO 3 SETNAME x",
                "%7 $6 server $5 redis $7 version $5 8.2.3 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0",
            ),
            ("ZMSCORE z a no", "*2 ,1.5 _"),
        ]);
    }

    /// In a listpack a score of -0 is the integer 0; a table keeps its sign.
    #[test]
    fn the_sign_of_zero() {
        for (entries_max, text) in [(128, "$1 0"), (0, "$2 -0")] {
            let mut rig = Rig::new();
            rig.world.global.settings.sorted_set.listpack_entries_max = entries_max;
            rig.script(&[("ZADD z -0 a", ":1"), ("ZSCORE z a", text), ("ZADD z CH 0 a", ":0"), ("ZSCORE z a", text)]);
        }
    }
}
