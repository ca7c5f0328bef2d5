//! `PFDEBUG`: a look inside.

use std::fmt::Write;

use super::REGISTERS;
use super::sketch::{Encoding, HEADER_BYTES, Sketch, merge, open_raw};
use super::sparse::runs;
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "pfdebug",
    arity: 3,
    flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::ADMIN),
    acl: Acl::WRITE.union(Acl::HYPERLOGLOG).union(Acl::ADMIN).union(Acl::SLOW).union(Acl::DANGEROUS),
    keys: &[KeySpec::range(KeyFlags::RW.union(KeyFlags::ACCESS), 2, 0, 1)],
    group: Group::Hyperloglog,
    since: "2.8.9",
    summary: "Shows, for debugging, how a HyperLogLog is kept.",
    complexity: "O(N), N being the number of registers",
    doc_flags: &["syscmd"],
    args: &[Arg::string("subcommand"), Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    if cx.word(1, "SIMD") {
        return simd(cx);
    }
    let key = cx.keys[0];
    let Some(entry) = cx.db.write(key) else {
        return cx.fail("ERR The specified key does not exist");
    };
    let mut sketch = Sketch::of(entry.entry().string()?.to_vec())?;
    open_raw(cx, key);
    if cx.word(1, "GETREG") {
        make_dense(cx, &mut sketch)?;
        let mut all = [0; REGISTERS];
        merge(&mut all, sketch.bytes(), sketch.encoding())?;
        cx.reply.array(all.len());
        all.iter().for_each(|&register| cx.reply.int(i64::from(register)));
    } else if cx.word(1, "DECODE") {
        if sketch.encoding() == Encoding::Dense {
            return cx.fail("ERR HLL encoding is not sparse");
        }
        cx.reply.bulk(shown_runs(&sketch.bytes()[HEADER_BYTES..]).as_bytes());
    } else if cx.word(1, "ENCODING") {
        cx.reply.simple(match sketch.encoding() {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        });
    } else if cx.word(1, "TODENSE") {
        let converted = make_dense(cx, &mut sketch)?;
        cx.reply.int(i64::from(converted));
    } else {
        return Err(Error::quoting("ERR Unknown PFDEBUG subcommand '", cx.args[1], "'").into());
    }
    Ok(())
}

/// Says whether it was sparse.
fn make_dense(cx: &mut Ctx<'_>, sketch: &mut Sketch) -> Result<bool, Stop> {
    if sketch.encoding() == Encoding::Dense {
        return Ok(false);
    }
    sketch.make_dense()?;
    sketch.store(cx, cx.keys[0]);
    cx.db.changed_unseen(1);
    Ok(true)
}

/// `Z:` and `z:` are zeros in two bytes and in one, `v:` a value and how often.
fn shown_runs(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in runs(bytes) {
        let written = match (run.value, run.bytes) {
            (0, 1) => write!(text, "z:{} ", run.len),
            (0, _) => write!(text, "Z:{} ", run.len),
            (value, _) => write!(text, "v:{value},{} ", run.len),
        };
        written.expect("a string takes everything");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Redis can do without wide instructions for its own tests; ours compare both ways by themselves. (Redis 8.2.3 replies `+enabled`
/// behind the error as well, by mistake.)
fn simd(cx: &mut Ctx<'_>) -> Outcome {
    let reply = match () {
        () if cx.word(2, "ON") => "enabled",
        () if cx.word(2, "OFF") => "disabled",
        () => return cx.fail("ERR Argument must be ON or OFF"),
    };
    cx.reply.simple(reply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn shows_what_is_inside() {
        script(&[
            ("PFADD h a b c d e f", ":1"),
            ("PFDEBUG encoding h", "+sparse"),
            (
                "PFDEBUG DECODE h",
                "$82 Z:1646 v:1,1 Z:5645 v:1,1 Z:1143 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 Z:622 v:1,1 Z:603",
            ),
            ("PFDEBUG TODENSE h", ":1"),
            ("PFDEBUG TODENSE h", ":0"),
            ("PFDEBUG ENCODING h", "+dense"),
            ("PFDEBUG DECODE h", "-ERR HLL encoding is not sparse"),
            ("PFDEBUG GETREG no", "-ERR The specified key does not exist"),
            ("PFDEBUG FOO no", "-ERR The specified key does not exist"),
            ("PFDEBUG FOO h", "-ERR Unknown PFDEBUG subcommand 'FOO'"),
            ("SET s x", "+OK"),
            ("PFDEBUG FOO s", "-WRONGTYPE Key is not a valid HyperLogLog string value."),
            ("PFDEBUG SIMD off", "+disabled"),
            ("PFDEBUG SIMD ON", "+enabled"),
            ("PFDEBUG SIMD x", "-ERR Argument must be ON or OFF"),
        ]);
    }

    #[test]
    fn registers() {
        let mut rig = Rig::new();
        rig.script(&[("PFADD h hello", ":1")]);
        let reply = rig.run("PFDEBUG GETREG h");
        let registers: Vec<&str> = reply.split(' ').skip(1).collect();
        assert_eq!(registers.len(), 16384);
        assert_eq!(registers.iter().filter(|register| **register != ":0").count(), 1);
        rig.script(&[("PFDEBUG ENCODING h", "+dense")]);
    }
}
