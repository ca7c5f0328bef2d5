//! `PFCOUNT`.

use keyspace::Key;

use super::REGISTERS;
use super::sketch::{cache_cardinality, cached_cardinality, cardinality, encoding, merge, open_raw};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::error::Stop;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "pfcount",
    arity: -2,
    flags: Flags::READONLY.union(Flags::MAY_REPLICATE),
    acl: Acl::READ.union(Acl::HYPERLOGLOG).union(Acl::SLOW),
    keys: &[KeySpec::range(KeyFlags::RW.union(KeyFlags::ACCESS), 1, -1, 1)
        .notes("RW because it may change the internal representation of the key, and propagate to replicas")],
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Estimates how many different elements HyperLogLogs have seen together.",
    complexity: "O(1) for one key, whose result is kept with it; O(N) for N keys, with a large constant",
    args: &[Arg::key("key", 0).multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let count = match cx.keys {
        [key] => one(cx, *key)?,
        keys => {
            let mut all = [0; REGISTERS];
            for &key in keys {
                if let Some(entry) = cx.db.read(key) {
                    entry.string()?.with_bytes(|bytes| Ok::<_, Stop>(merge(&mut all, bytes, encoding(bytes)?)?))?;
                }
            }
            cardinality(&all)
        }
    };
    cx.reply.int(count as i64);
    Ok(())
}

/// The estimate is kept in the string. That is a change, which replicas hear of.
fn one(cx: &mut Ctx<'_>, key: Key<'_>) -> Result<u64, Stop> {
    let Some(entry) = cx.db.read(key) else {
        return Ok(0);
    };
    let is_raw = entry.value().encoding_name() == "raw";
    let (count, cached) = entry.string()?.with_bytes(|bytes| {
        let encoding = encoding(bytes)?;
        if let Some(cached) = cached_cardinality(bytes) {
            return Ok::<_, Stop>((cached, true));
        }
        let mut all = [0; REGISTERS];
        merge(&mut all, bytes, encoding)?;
        Ok((cardinality(&all), false))
    })?;
    if !cached {
        let mut entry = cx.db.write(key).expect("the key is there");
        cache_cardinality(entry.bytes_mut(0), count);
        cx.db.changed(1);
    } else if !is_raw {
        open_raw(cx, key);
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn one_or_several() {
        script(&[
            ("PFADD a 1 2 3", ":1"),
            ("PFADD b 3 4", ":1"),
            ("PFCOUNT a", ":3"),
            ("PFCOUNT a", ":3"),
            ("PFCOUNT a b no", ":4"),
            ("PFCOUNT no", ":0"),
            ("PFCOUNT no no", ":0"),
            ("SET s x", "+OK"),
            ("PFCOUNT s", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
            ("PFCOUNT a s", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
        ]);
    }

    /// As Redis 8.2 replies, at the same elements.
    #[test]
    fn estimates() {
        let mut rig = Rig::new();
        let mut added = 0;
        for (elements, expected) in
            [(1, 1), (10, 10), (100, 99), (500, 502), (1000, 997), (2000, 2004), (5000, 5005), (20000, 19986)]
        {
            while added < elements {
                rig.run(&format!("PFADD h element:{added}"));
                added += 1;
            }
            rig.script(&[("PFCOUNT h", &format!(":{expected}"))]);
        }
    }
}
