//! `SPOP` and `SRANDMEMBER`.

use std::collections::HashSet;

use keyspace::{Collection, IntBuffer, Key, Set};

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPOP: Spec = Spec {
    name: "spop",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::SET).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Takes members picked at random out of a set, and returns them.",
    complexity: "O(1) without a count, O(N) with one, N being that count",
    history: &[("3.2.0", "A count of members.")],
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0), Arg::integer("count").since("3.2.0").optional()],
    run: Some(spop),
    ..Spec::NEW
};

pub const SRANDMEMBER: Spec = Spec {
    name: "srandmember",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SET).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns members picked at random.",
    complexity: "O(1) without a count, O(N) with one, N being its absolute value",
    history: &[("2.6.0", "A count of members.")],
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0), Arg::integer("count").since("2.6.0").optional()],
    run: Some(srandmember),
    ..Spec::NEW
};

/// Redis 8.2 tells replicas of so many removed members with one SREM.
const MEMBERS_OF_AN_EFFECT_MAX: usize = 1024;

/// Above this part of a set, picking one by one would meet the same members again too often: one walk picks all.
const WALK_DIVISOR: usize = 3;

fn spop(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    if cx.args.len() == 2 {
        return pop_one(cx, key);
    }
    if cx.args.len() > 3 {
        return Err(Error::Syntax.into());
    }
    let count = match resp::number::parse_i64(cx.args[2]).map(usize::try_from) {
        Some(Ok(count)) => count,
        _ => return cx.fail("ERR value is out of range, must be positive"),
    };
    pop_many(cx, key, count)
}

fn pop_one(cx: &mut Ctx<'_>, key: Key<'_>) -> Outcome {
    let Some(mut set) = cx.db.write_as::<Set>(key)? else {
        cx.reply.null();
        return Ok(());
    };
    let member = set.random(rand::random).expect("a set is not empty").to_vec();
    set.remove(&member);
    drop(set);
    cx.db.notify(EventClass::SET, "spop", key.bytes());
    if cx.db.effects.wanted() {
        cx.db.effects.instead(&[b"SREM", key.bytes(), &member]);
    }
    cx.db.remove_if_empty(key);
    cx.db.changed(1);
    cx.reply.bulk(&member);
    Ok(())
}

fn pop_many(cx: &mut Ctx<'_>, key: Key<'_>, count: usize) -> Outcome {
    let Some(len) = cx.db.write_as::<Set>(key)?.map(|set| set.len()) else {
        cx.reply.set(0);
        return Ok(());
    };
    let mut buffer = IntBuffer::new();
    if count >= len {
        let set = cx.db.read_as::<Set>(key)?.expect("it was read just now");
        cx.reply.set(len);
        set.for_each(|member| cx.reply.bulk(member.bytes(&mut buffer)));
        cx.db.notify(EventClass::SET, "spop", key.bytes());
        if cx.db.effects.wanted() {
            let verb: &[u8] = if cx.global().settings.unlink_deleted { b"UNLINK" } else { b"DEL" };
            cx.db.effects.instead(&[verb, key.bytes()]);
        }
        cx.db.delete(key);
        cx.db.changed(len as u64);
        return Ok(());
    }
    cx.reply.set(count);
    if count == 0 {
        return Ok(());
    }
    let members = {
        let mut set = cx.db.write_as::<Set>(key)?.expect("it was read just now");
        let members = distinct(&set, count);
        members.iter().for_each(|member| {
            set.remove(member);
        });
        members
    };
    members.iter().for_each(|member| cx.reply.bulk(member));
    cx.db.notify(EventClass::SET, "spop", key.bytes());
    if cx.db.effects.wanted() {
        for members in members.chunks(MEMBERS_OF_AN_EFFECT_MAX) {
            let mut effect: Vec<&[u8]> = vec![b"SREM", key.bytes()];
            effect.extend(members.iter().map(Vec::as_slice));
            cx.db.effects.instead(&effect);
        }
    }
    cx.db.changed(count as u64);
    Ok(())
}

/// `count` different members, fewer than there are, every choice as likely as any other.
fn distinct(set: &Set, count: usize) -> Vec<Vec<u8>> {
    let len = set.len();
    if count > len / WALK_DIVISOR || !matches!(set, Set::Table(_)) {
        // Selection sampling: each member is taken with the chance that remains for it.
        let mut members = Vec::with_capacity(count);
        let mut left = len;
        set.for_each(|member| {
            if below(left) < count - members.len() {
                members.push(member.to_vec());
            }
            left -= 1;
        });
        return members;
    }
    let mut seen = HashSet::with_capacity(count);
    let mut members = Vec::with_capacity(count);
    while members.len() < count {
        let member = set.random(rand::random).expect("a set is not empty").to_vec();
        if seen.insert(member.clone()) {
            members.push(member);
        }
    }
    members
}

/// A number below `limit`, all equally likely.
fn below(limit: usize) -> usize {
    ((u128::from(rand::random::<u64>()) * limit as u128) >> 64) as usize
}

fn srandmember(cx: &mut Ctx<'_>) -> Outcome {
    let key = cx.keys[0];
    let mut buffer = IntBuffer::new();
    if cx.args.len() == 2 {
        match cx.db.read_as::<Set>(key)? {
            Some(set) => {
                cx.reply.bulk(set.random(rand::random).expect("a set is not empty").bytes(&mut buffer));
            }
            None => cx.reply.null(),
        }
        return Ok(());
    }
    if cx.args.len() > 3 {
        return Err(Error::Syntax.into());
    }
    let count = cx.int(2)?;
    if count == i64::MIN {
        return Err(Stop::Error(Error::text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )));
    }
    let bytes_max = cx.reply_bytes_max();
    let Some(set) = cx.db.read_as::<Set>(key)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let wanted = count.unsigned_abs() as usize;
    if count < 0 {
        // The same member may come again.
        cx.reply.array(wanted);
        for _ in 0..wanted {
            if cx.reply.len() > bytes_max {
                break;
            }
            cx.reply.bulk(set.random(rand::random).expect("a set is not empty").bytes(&mut buffer));
        }
        cx.close_if_beyond(bytes_max);
    } else if wanted >= set.len() {
        cx.reply.array(set.len());
        set.for_each(|member| cx.reply.bulk(member.bytes(&mut buffer)));
    } else {
        cx.reply.array(wanted);
        if wanted > 0 {
            distinct(&set, wanted).iter().for_each(|member| cx.reply.bulk(member));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rig, script};
    use keyspace::collection::limits::SetLimits;

    /// Of all three commands whose reply is as long as the client wants.
    #[test]
    fn a_reply_ends_beyond_the_hard_limit() {
        for (fill, draw) in [
            ("SADD k a", "SRANDMEMBER k -1000000000"),
            ("HSET k a 1", "HRANDFIELD k -1000000000"),
            ("ZADD k 1 a", "ZRANDMEMBER k -1000000000 WITHSCORES"),
        ] {
            let mut rig = Rig::new();
            rig.world.global.settings.output_limits.normal.hard_bytes = 100;
            rig.run(fill);
            let len = rig.run(draw).len();
            assert!((60..200).contains(&len) && rig.session.close_after_reply, "{draw}: {len} bytes");
        }
    }

    #[test]
    fn counts_and_errors() {
        script(&[
            ("SADD a 1 2 3", ":3"),
            ("SPOP a -1", "-ERR value is out of range, must be positive"),
            ("SPOP a x", "-ERR value is out of range, must be positive"),
            ("SPOP a 1 2", "-ERR syntax error"),
            ("SPOP a 0", "*0"),
            ("SPOP none", "$-1"),
            ("SPOP none 5", "*0"),
            ("SRANDMEMBER a 0", "*0"),
            ("SRANDMEMBER a 5", "*3 $1 1 $1 2 $1 3"),
            ("SRANDMEMBER a x", "-ERR value is not an integer or out of range"),
            ("SRANDMEMBER none x", "-ERR value is not an integer or out of range"),
            ("SRANDMEMBER a 1 2", "-ERR syntax error"),
            ("SRANDMEMBER none", "$-1"),
            ("SRANDMEMBER none -3", "*0"),
            ("SPOP a 3", "*3 $1 1 $1 2 $1 3"),
            ("EXISTS a", ":0"),
            ("SADD b x", ":1"),
            ("SRANDMEMBER b -2", "*2 $1 x $1 x"),
            ("SPOP b", "$1 x"),
            ("EXISTS b", ":0"),
        ]);
    }

    #[test]
    fn what_is_popped_is_gone_and_was_there() {
        for (count, batch) in [(3, 1), (10, 4), (300, 10), (300, 150), (600, 400)] {
            let mut rig = Rig::new();
            for number in 0..count {
                rig.run(&format!("SADD a m{number}"));
            }
            let mut left = count;
            while left > 0 {
                let reply = rig.run(&format!("SPOP a {batch}"));
                let got = batch.min(left);
                assert!(reply.starts_with(&format!("*{got} ")));
                left -= got;
                assert_eq!(rig.run("SCARD a"), format!(":{left}"));
            }
        }
    }

    /// Chi-square over members of each encoding, and over choices of several: a bound that chance passes once in a million runs.
    #[test]
    fn every_member_has_the_same_chance() {
        const MEMBERS: usize = 40;
        const DRAWS: usize = 40_000;
        let limits = [
            SetLimits::default(),
            SetLimits { intset_entries_max: 0, ..SetLimits::default() },
            SetLimits { intset_entries_max: 0, listpack_entries_max: 0, ..SetLimits::default() },
        ];
        for limits in limits {
            let mut set = Set::for_members(b"0", MEMBERS, &limits);
            (0..MEMBERS).for_each(|number| {
                set.insert(number.to_string().as_bytes(), &limits);
            });
            for several in [1, 5, 30] {
                let mut counts = [0usize; MEMBERS];
                for _ in 0..DRAWS / several {
                    for member in distinct(&set, several) {
                        let number: usize = String::from_utf8(member).unwrap().parse().unwrap();
                        counts[number] += 1;
                    }
                }
                let expected = counts.iter().sum::<usize>() as f64 / MEMBERS as f64;
                let chi_square: f64 = counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
                // 39 degrees of freedom.
                assert!(chi_square < 100.0, "{} of {several}: {chi_square}", set.encoding_name());
            }
        }
    }
}
