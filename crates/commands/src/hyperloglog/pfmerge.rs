//! `PFMERGE`.

use super::REGISTERS;
use super::sketch::{Encoding, Sketch, encoding, mark_stale, merge, registers_mut};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::error::Stop;
use crate::hyperloglog::dense;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "pfmerge",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::HYPERLOGLOG).union(Acl::SLOW),
    keys: &[
        KeySpec::range(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::INSERT), 1, 0, 1),
        KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 2, -1, 1),
    ],
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Makes a HyperLogLog one that has seen what several have seen together, it included.",
    complexity: "O(N) for N HyperLogLogs, with a large constant",
    args: &[Arg::key("destkey", 0), Arg::key("sourcekey", 1).optional().multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let sparse_bytes_max = cx.global().settings.hll_sparse_bytes_max;
    let mut all = [0; REGISTERS];
    // One dense sketch makes the destination dense.
    let mut any_dense = false;
    let mut destination_encoding = None;
    for (nth, &key) in cx.keys.iter().enumerate() {
        let Some(entry) = cx.db.read(key) else {
            continue;
        };
        let encoding = entry.string()?.with_bytes(|bytes| {
            let encoding = encoding(bytes)?;
            merge(&mut all, bytes, encoding)?;
            Ok::<_, Stop>(encoding)
        })?;
        any_dense |= encoding == Encoding::Dense;
        if nth == 0 {
            destination_encoding = Some(encoding);
        }
    }
    let destination = cx.keys[0];
    if destination_encoding == Some(Encoding::Dense) {
        let mut entry = cx.db.write(destination).expect("the key is there");
        let bytes = entry.bytes_mut(0);
        dense::pack(&all, registers_mut(bytes));
        mark_stale(bytes);
    } else {
        let mut sketch = match cx.db.write(destination) {
            None => Sketch::empty(),
            Some(entry) => Sketch::of(entry.entry().string()?.to_vec())?,
        };
        if any_dense {
            sketch.make_dense()?;
            sketch.fill(&all);
        } else {
            // One by one, in order: so the runs come out as Redis's do.
            for (index, &value) in all.iter().enumerate() {
                if value > 0 {
                    sketch.raise(index, value, sparse_bytes_max)?;
                }
            }
        }
        sketch.mark_stale();
        sketch.store(cx, destination);
    }
    cx.db.notify(EventClass::STRING, "pfadd", destination.bytes());
    cx.db.changed(1);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn unions() {
        script(&[
            ("PFADD a 1 2 3", ":1"),
            ("PFADD b 3 4", ":1"),
            ("PFMERGE c a b no", "+OK"),
            ("PFCOUNT c", ":4"),
            ("PFDEBUG ENCODING c", "+sparse"),
            ("PFMERGE a b", "+OK"),
            ("PFCOUNT a", ":4"),
            ("PFMERGE new", "+OK"),
            ("PFCOUNT new", ":0"),
            ("PFDEBUG TODENSE b", ":1"),
            ("EXPIRE c 100", ":1"),
            ("PFMERGE c b", "+OK"),
            ("TTL c", ":100"),
            ("PFDEBUG ENCODING c", "+dense"),
            ("PFCOUNT c", ":4"),
            ("PFMERGE new a b", "+OK"),
            ("PFMERGE b c", "+OK"),
            ("PFCOUNT new b", ":4"),
        ]);
    }

    #[test]
    fn nothing_is_made_of_what_is_none() {
        script(&[
            ("SET s x", "+OK"),
            ("PFADD a 1", ":1"),
            ("PFMERGE new a s", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
            ("PFMERGE s a", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
            ("EXISTS new", ":0"),
            ("PFADD c", ":1"),
            ("SETRANGE c 16 \"\\x7f\\xfe\"", ":18"),
            ("PFMERGE new c", "-INVALIDOBJ Corrupted HLL object detected"),
            ("PFMERGE c a", "-INVALIDOBJ Corrupted HLL object detected"),
            ("EXISTS new", ":0"),
        ]);
    }

    /// As Redis counts: hits for all that is there, one change.
    #[test]
    fn changes_hits_and_misses() {
        for (line, changes, hits, misses) in [
            ("PFADD h", 0, 0, 0),
            ("PFADD h a", 0, 0, 0),
            ("PFADD h b c", 2, 0, 0),
            ("PFADD no", 1, 0, 0),
            ("PFADD no a", 2, 0, 0),
            ("PFCOUNT h", 1, 1, 0),
            ("PFCOUNT no", 0, 0, 1),
            ("PFCOUNT h no", 0, 1, 1),
            ("PFMERGE no h", 1, 1, 1),
            ("PFMERGE h", 1, 1, 0),
            ("PFDEBUG GETREG h", 1, 0, 0),
            ("PFDEBUG TODENSE h", 1, 0, 0),
            ("PFDEBUG ENCODING h", 0, 0, 0),
        ] {
            let mut rig = Rig::new();
            rig.script(&[("PFADD h a", ":1")]);
            let counted = |rig: &Rig| {
                let stats = &rig.host.stats[0];
                [&stats.dirty, &stats.keyspace_hits, &stats.keyspace_misses].map(|counter| counter.get())
            };
            let before = counted(&rig);
            rig.run(line);
            let after = counted(&rig);
            assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), [changes, hits, misses], "{line}");
        }
    }
}
