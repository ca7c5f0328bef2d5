//! `SINTER`, `SUNION`, `SDIFF`, their `STORE` forms, and `SINTERCARD`.

use std::ops::ControlFlow;

use keyspace::collection::limits::SetLimits;
use keyspace::collection::listpack::Item;
use keyspace::{Collection, Expiry, IntBuffer, Key, Listpack, NewValue, Set};
use smallvec::SmallVec;

use crate::context::{Ctx, Outcome};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SINTER: Spec = Spec {
    name: "sinter",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SET).union(Acl::SLOW),
    keys: &[KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 1, -1, 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns the members that all the sets have.",
    complexity: "O(N*M) at worst, N being the size of the smallest set and M the number of sets",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::key("key", 0).multiple()],
    run: Some(sinter),
    ..Spec::NEW
};

pub const SINTERSTORE: Spec = Spec {
    name: "sinterstore",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::SET).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1),
        KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 2, -1, 1),
    ],
    group: Group::Set,
    since: "1.0.0",
    summary: "Stores the members that all the sets have under another key.",
    complexity: "O(N*M) at worst, N being the size of the smallest set and M the number of sets",
    args: &[Arg::key("destination", 0), Arg::key("key", 1).multiple()],
    run: Some(sinterstore),
    ..Spec::NEW
};

pub const SINTERCARD: Spec = Spec {
    name: "sintercard",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SET).union(Acl::SLOW),
    keys: &[KeySpec {
        notes: None,
        flags: KeyFlags::RO.union(KeyFlags::ACCESS),
        begin: Begin::Index(1),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }],
    group: Group::Set,
    since: "7.0.0",
    summary: "Counts the members that all the sets have.",
    complexity: "O(N*M) at worst, N being the size of the smallest set and M the number of sets",
    args: &[Arg::integer("numkeys"), Arg::key("key", 0).multiple(), Arg::integer("limit").token("LIMIT").optional()],
    run: Some(sintercard),
    ..Spec::NEW
};

pub const SUNION: Spec = Spec {
    name: "sunion",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SET).union(Acl::SLOW),
    keys: &[KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 1, -1, 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns the members that any of the sets has.",
    complexity: "O(N), N being the members of all sets together",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::key("key", 0).multiple()],
    run: Some(sunion),
    ..Spec::NEW
};

pub const SUNIONSTORE: Spec = Spec {
    name: "sunionstore",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::SET).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1),
        KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 2, -1, 1),
    ],
    group: Group::Set,
    since: "1.0.0",
    summary: "Stores the members that any of the sets has under another key.",
    complexity: "O(N), N being the members of all sets together",
    args: &[Arg::key("destination", 0), Arg::key("key", 1).multiple()],
    run: Some(sunionstore),
    ..Spec::NEW
};

pub const SDIFF: Spec = Spec {
    name: "sdiff",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SET).union(Acl::SLOW),
    keys: &[KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 1, -1, 1)],
    group: Group::Set,
    since: "1.0.0",
    summary: "Returns the members of the first set that no other has.",
    complexity: "O(N), N being the members of all sets together",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::key("key", 0).multiple()],
    run: Some(sdiff),
    ..Spec::NEW
};

pub const SDIFFSTORE: Spec = Spec {
    name: "sdiffstore",
    arity: -3,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::SET).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1),
        KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 2, -1, 1),
    ],
    group: Group::Set,
    since: "1.0.0",
    summary: "Stores the members of the first set that no other has under another key.",
    complexity: "O(N), N being the members of all sets together",
    args: &[Arg::key("destination", 0), Arg::key("key", 1).multiple()],
    run: Some(sdiffstore),
    ..Spec::NEW
};

/// The sets of an operation. Those that are not there are left out, but for their number.
type Sets<'s> = SmallVec<[&'s Set; 4]>;

/// Members are looked up elsewhere in batches, whose cache misses overlap.
const BATCH: usize = 16;

/// To look members up in so many other sets, one by one, is faster than to gather those sets in one.
const LOOKED_UP_SETS_MAX: usize = 4;

fn sinter(cx: &mut Ctx<'_>) -> Outcome {
    let sets = cx.db.read_all_as::<Set>(cx.keys)?;
    let mut sets: Sets<'_> = match sets.iter().map(Option::as_deref).collect() {
        Some(sets) => sets,
        None => {
            cx.reply.set(0);
            return Ok(());
        }
    };
    let start = cx.reply.start_deferred();
    let mut count = 0;
    intersect(&mut sets, |member| {
        cx.reply.bulk(member);
        count += 1;
        true
    });
    cx.reply.finish_set(start, count);
    Ok(())
}

fn sintercard(cx: &mut Ctx<'_>) -> Outcome {
    let key_count = match resp::number::parse_i64(cx.args[1]) {
        Some(count) if count > 0 => count,
        _ => return cx.fail("ERR numkeys should be greater than 0"),
    };
    if key_count > cx.args.len() as i64 - 2 {
        return cx.fail("ERR Number of keys can't be greater than number of args");
    }
    let mut limit = 0;
    let mut at = 2 + key_count as usize;
    while at < cx.args.len() {
        if !cx.word(at, "LIMIT") || at + 1 >= cx.args.len() {
            return Err(Error::Syntax.into());
        }
        limit = match resp::number::parse_i64(cx.args[at + 1]).map(usize::try_from) {
            Some(Ok(limit)) => limit,
            _ => return cx.fail("ERR LIMIT can't be negative"),
        };
        at += 2;
    }
    let sets = cx.db.read_all_as::<Set>(cx.keys)?;
    let mut count = 0;
    if let Some(mut sets) = sets.iter().map(Option::as_deref).collect::<Option<Sets<'_>>>() {
        intersect(&mut sets, |_| {
            count += 1;
            count != limit
        });
    }
    cx.reply.count(count);
    Ok(())
}

fn sunion(cx: &mut Ctx<'_>) -> Outcome {
    let sets = cx.db.read_all_as::<Set>(cx.keys)?;
    let sets: Sets<'_> = sets.iter().filter_map(Option::as_deref).collect();
    let start = cx.reply.start_deferred();
    let mut count = 0;
    unite(&sets, |member| {
        cx.reply.bulk(member);
        count += 1;
    });
    cx.reply.finish_set(start, count);
    Ok(())
}

fn sdiff(cx: &mut Ctx<'_>) -> Outcome {
    let sets = cx.db.read_all_as::<Set>(cx.keys)?;
    let others: Sets<'_> = sets[1..].iter().filter_map(Option::as_deref).collect();
    let start = cx.reply.start_deferred();
    let mut count = 0;
    if let Some(first) = sets[0].as_deref() {
        subtract(first, &others, |member| {
            cx.reply.bulk(member);
            count += 1;
        });
    }
    cx.reply.finish_set(start, count);
    Ok(())
}

fn sinterstore(cx: &mut Ctx<'_>) -> Outcome {
    let result = intersection(cx)?;
    store(cx, "sinterstore", result)
}

fn sunionstore(cx: &mut Ctx<'_>) -> Outcome {
    let result = union(cx)?;
    store(cx, "sunionstore", result)
}

fn sdiffstore(cx: &mut Ctx<'_>) -> Outcome {
    let result = difference(cx)?;
    store(cx, "sdiffstore", result)
}

/// Of the sets behind the first key; likewise below.
fn intersection(cx: &mut Ctx<'_>) -> Result<Set, Stop> {
    let limits = cx.global().settings.set;
    let sets = cx.db.read_all_as::<Set>(&cx.keys[1..])?;
    let Some(mut sets) = sets.iter().map(Option::as_deref).collect::<Option<Sets<'_>>>() else {
        return Ok(Set::default());
    };
    // The result begins in the encoding of the smallest set, and a listpack of integers becomes an intset, as in Redis 8.2.
    let smallest = sets.iter().min_by_key(|set| set.len()).expect("there is one set at least");
    let mut result = match smallest {
        Set::Ints(_) => Set::default(),
        _ => Set::Packed(Listpack::new()),
    };
    intersect(&mut sets, |member| {
        result.insert(member, &limits);
        true
    });
    result.settle_on_ints(&limits);
    Ok(result)
}

fn union(cx: &mut Ctx<'_>) -> Result<Set, Stop> {
    let limits = cx.global().settings.set;
    let sets = cx.db.read_all_as::<Set>(&cx.keys[1..])?;
    let mut result = Set::default();
    sets.iter().flatten().for_each(|set| collect(set, &mut result, &limits));
    Ok(result)
}

fn difference(cx: &mut Ctx<'_>) -> Result<Set, Stop> {
    let limits = cx.global().settings.set;
    let sets = cx.db.read_all_as::<Set>(&cx.keys[1..])?;
    let others: Sets<'_> = sets[1..].iter().filter_map(Option::as_deref).collect();
    let mut result = Set::default();
    if let Some(first) = sets[0].as_deref() {
        subtract(first, &others, |member| {
            result.insert(member, &limits);
        });
    }
    Ok(result)
}

/// Adds all members of a set.
fn collect(set: &Set, result: &mut Set, limits: &SetLimits) {
    let mut buffer = IntBuffer::new();
    set.for_each(|member| {
        result.insert(member.bytes(&mut buffer), limits);
    });
}

/// Keeps the result under the first key, or deletes that where there is none.
fn store(cx: &mut Ctx<'_>, event: &'static str, result: Set) -> Outcome {
    let destination: Key<'_> = cx.keys[0];
    let len = result.len();
    if len > 0 {
        cx.db.set(destination, NewValue::Object(result.into()), Expiry::Clear);
        cx.db.notify(EventClass::SET, event, destination.bytes());
        cx.db.changed(1);
    } else if cx.db.clear(destination) {
        cx.db.changed(1);
    }
    cx.reply.count(len);
    Ok(())
}

/// Some members, to be looked up together.
type Texts<'t> = SmallVec<[&'t [u8]; BATCH]>;

/// Visits the members that all sets have, until told to stop by `false`. The smallest set leads.
fn intersect(sets: &mut Sets<'_>, mut visit: impl FnMut(&[u8]) -> bool) {
    sets.sort_by_key(|set| set.len());
    let (first, others) = sets.split_first().expect("there is one set at least");
    in_batches(first, |texts| {
        let texts = others.iter().fold(texts, |texts, other| sift(texts, other, true));
        if texts.iter().all(|text| visit(text)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
}

/// Visits the members of all sets, each once: of every set those that no earlier one has. O(N) for all members together, however many sets.
fn unite(sets: &[&Set], mut visit: impl FnMut(&[u8])) {
    let (few, more) = sets.split_at(sets.len().min(LOOKED_UP_SETS_MAX));
    for (index, set) in few.iter().enumerate() {
        look_up(set, &few[..index], &mut visit);
    }
    if more.is_empty() {
        return;
    }
    let mut met = gathered(few);
    let mut buffer = IntBuffer::new();
    for set in more {
        set.for_each(|member| {
            let text = member.bytes(&mut buffer);
            if met.insert(text, &SetLimits::default()) {
                visit(text);
            }
        });
    }
}

/// Visits the members of `first` that none of the others has. O(N) for all members together, however many sets.
fn subtract(first: &Set, others: &[&Set], visit: impl FnMut(&[u8])) {
    let lookups = first.len().saturating_mul(others.len());
    let members: usize = others.iter().map(|set| set.len()).sum();
    // Either every member is looked for in all others, or they are gathered first: what is less work.
    if others.len() <= LOOKED_UP_SETS_MAX || lookups / 2 <= members {
        return look_up(first, others, visit);
    }
    look_up(first, &[&gathered(others)], visit);
}

/// A table of all members of these sets.
fn gathered(sets: &[&Set]) -> Set {
    let mut all = Set::Table(Box::default());
    sets.iter().for_each(|set| collect(set, &mut all, &SetLimits::default()));
    all
}

/// Visits the members of `first` that none of the others has, asking one after the other.
fn look_up(first: &Set, others: &[&Set], mut visit: impl FnMut(&[u8])) {
    in_batches(first, |texts| {
        let texts = others.iter().fold(texts, |texts, other| sift(texts, other, false));
        texts.into_iter().for_each(&mut visit);
        ControlFlow::Continue(())
    });
}

/// Those of the texts that are members, or those that are none.
fn sift<'t>(texts: Texts<'t>, set: &Set, members: bool) -> Texts<'t> {
    let mut left = Texts::new();
    set.contains_each(&texts, |text, found| {
        if found == members {
            left.push(text);
        }
    });
    left
}

/// Visits all members, some at a time.
fn in_batches(set: &Set, mut visit: impl FnMut(Texts<'_>) -> ControlFlow<()>) {
    let mut items = SmallVec::<[Item<'_>; BATCH]>::new();
    let mut flush = |items: &mut SmallVec<[Item<'_>; BATCH]>| {
        let mut buffers = std::array::from_fn::<_, BATCH, _>(|_| IntBuffer::new());
        let texts = items.iter().zip(&mut buffers).map(|(item, buffer)| item.bytes(buffer)).collect();
        let flow = visit(texts);
        items.clear();
        flow
    };
    let flow = set.try_for_each(|item| {
        items.push(item);
        if items.len() == BATCH { flush(&mut items) } else { ControlFlow::Continue(()) }
    });
    if flow.is_continue() && !items.is_empty() {
        let _ = flush(&mut items);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::testing::{Rig, script};

    #[test]
    fn of_sets_of_all_encodings() {
        let long = "x".repeat(100);
        script(&[
            ("SADD ints 1 2 3", ":3"),
            ("SADD packed 2 3 a", ":3"),
            (&format!("SADD table 3 a {long}"), ":3"),
            ("SINTER ints packed", "*2 $1 2 $1 3"),
            ("SINTER ints packed table", "*1 $1 3"),
            ("SINTER ints none", "*0"),
            ("SINTERCARD 2 ints packed", ":2"),
            ("SINTERCARD 2 ints packed LIMIT 1", ":1"),
            ("SINTERCARD 2 ints packed LIMIT 0", ":2"),
            ("SUNION ints packed", "*4 $1 1 $1 2 $1 3 $1 a"),
            ("SDIFF ints packed table", "*1 $1 1"),
            ("SDIFF none ints", "*0"),
            ("SDIFF ints", "*3 $1 1 $1 2 $1 3"),
            ("SDIFF ints ints", "*0"),
            ("SUNIONSTORE d ints packed table", ":5"),
            ("OBJECT ENCODING d", "$9 hashtable"),
            ("SINTERSTORE d packed table", ":2"),
            ("OBJECT ENCODING d", "$8 listpack"),
            ("SINTERSTORE d packed ints", ":2"),
            ("OBJECT ENCODING d", "$6 intset"),
            ("SDIFFSTORE d packed ints", ":1"),
            ("SMEMBERS d", "*1 $1 a"),
            ("SDIFFSTORE d ints ints", ":0"),
            ("EXISTS d", ":0"),
            ("SUNIONSTORE ints ints packed", ":4"),
            ("SCARD ints", ":4"),
        ]);
    }

    /// The work must not grow with the number of sets: then they are gathered first.
    #[test]
    fn of_many_sets() {
        let mut rig = Rig::new();
        let mut sets = String::new();
        for number in 0..12 {
            rig.run(&format!("SADD s{number} {number} {} a{number} common", number + 1));
            sets += &format!(" s{number}");
        }
        rig.run("SADD first 0 5 12 13 a3 b common");
        let words = |reply: String| -> BTreeSet<String> {
            let words: Vec<String> =
                reply.split(' ').filter(|word| !word.starts_with(['*', '$'])).map(Into::into).collect();
            let unique: BTreeSet<String> = words.iter().cloned().collect();
            assert_eq!(unique.len(), words.len(), "each member once");
            unique
        };
        let expected = |numbers: std::ops::Range<usize>, texts: &[&str]| -> BTreeSet<String> {
            numbers.map(|number| number.to_string()).chain(texts.iter().map(|&text| text.into())).collect()
        };
        let mut all = expected(0..13, &["common"]);
        all.extend((0..12).map(|number| format!("a{number}")));
        assert_eq!(words(rig.run(&format!("SUNION{sets}"))), all);
        assert_eq!(rig.run(&format!("SUNIONSTORE d{sets}")), ":26");
        assert_eq!(words(rig.run("SMEMBERS d")), all);
        assert_eq!(words(rig.run(&format!("SDIFF first{sets}"))), expected(13..14, &["b"]));
        rig.run("SADD big 0 b");
        (100..200).for_each(|number| drop(rig.run(&format!("SADD big {number}"))));
        assert_eq!(words(rig.run(&format!("SDIFF big{sets}"))), expected(100..200, &["b"]));
        assert_eq!(rig.run(&format!("SDIFFSTORE d big{sets}")), ":101");
    }

    #[test]
    fn arguments_of_sintercard() {
        script(&[
            ("SINTERCARD 0 a", "-ERR numkeys should be greater than 0"),
            ("SINTERCARD x a", "-ERR numkeys should be greater than 0"),
            ("SINTERCARD 2 a", "-ERR Number of keys can't be greater than number of args"),
            ("SINTERCARD 1 a LIMIT", "-ERR syntax error"),
            ("SINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
            ("SINTERCARD 1 a LIMIT x", "-ERR LIMIT can't be negative"),
            ("SINTERCARD 1 a FOO 1", "-ERR syntax error"),
            ("SET s v", "+OK"),
            ("SINTERCARD 2 none s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SINTER none s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SUNION none s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SDIFF none s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SDIFFSTORE s none", ":0"),
            ("EXISTS s", ":0"),
        ]);
    }
}
