//! `BITPOS`.

use super::range::{Split, Written};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "bitpos",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::BITMAP).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Bitmap,
    since: "2.8.7",
    summary: "Finds the first bit that is set, or the first that is not, in a string or a part of it.",
    complexity: "O(N), N being the length of the part",
    history: &[("7.0.0", "The range may be given in bits: `BIT`, beside `BYTE`.")],
    args: &[
        Arg::key("key", 0),
        Arg::integer("bit"),
        Arg::block(
            "range",
            &[
                Arg::integer("start"),
                Arg::block(
                    "end-unit-block",
                    &[
                        Arg::integer("end"),
                        Arg::one_of("unit", &[Arg::word("byte", "BYTE"), Arg::word("bit", "BIT")])
                            .since("7.0.0")
                            .optional(),
                    ],
                )
                .optional(),
            ],
        )
        .optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let bit = match cx.int(2)? {
        0 => false,
        1 => true,
        _ => return cx.fail("ERR The bit argument must be 1 or 0."),
    };
    let written = match cx.args.len() {
        3 => Written::WHOLE,
        4 => Written { start: cx.int(3)?, ..Written::WHOLE },
        _ => Written::parse(cx, 3, true)?,
    };
    // Without an end the string counts as followed by zeros, if there is anything to look at.
    let open = cx.args.len() < 5;
    let found = match cx.db.read(cx.keys[0]) {
        None if bit => None,
        None => Some(0),
        Some(entry) => {
            let string = entry.string()?;
            let bits = written.bits(string.len());
            bits.and_then(|bits| {
                let end = bits.end;
                string.with_bytes(|bytes| find(bytes, bit, Split::of(bits))).or((open && !bit).then_some(end))
            })
        }
    };
    cx.reply.int(found.map_or(-1, |at| at as i64));
    Ok(())
}

/// The first bit of this value in a part of `bytes`.
fn find(bytes: &[u8], bit: bool, part: Split) -> Option<u64> {
    // What is looked for becomes 1, and what is not in, 0.
    let flip = if bit { 0 } else { 0xFF };
    let first = |at: usize, mask: u8| match (bytes[at] ^ flip) & mask {
        0 => None,
        wanted => Some(at as u64 * 8 + u64::from(wanted.leading_zeros())),
    };
    let Split { head, body, tail } = part;
    let in_body = || {
        // Blocks first, without a branch in each: this is what becomes wide instructions.
        let (blocks, _) = bytes[body.clone()].as_chunks::<64>();
        let dull = |block: &&[u8; 64]| block.iter().fold(0, |seen, byte| seen | (byte ^ flip)) == 0;
        let start = body.start + blocks.iter().take_while(dull).count() * 64;
        (start..body.end).find_map(|at| first(at, 0xFF))
    };
    head.and_then(|(at, mask)| first(at, mask)).or_else(in_body).or_else(|| tail.and_then(|(at, mask)| first(at, mask)))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn in_ranges() {
        script(&[
            ("SET s \"\\xff\\xf0\\x00\"", "+OK"),
            ("BITPOS s 0", ":12"),
            ("BITPOS s 1", ":0"),
            ("BITPOS s 1 2", ":-1"),
            ("BITPOS s 0 2", ":16"),
            ("BITPOS s 1 2 -1", ":-1"),
            ("BITPOS s 0 0 0", ":-1"),
            ("BITPOS s 0 7 15 BIT", ":12"),
            ("BITPOS s 1 7 15 bit", ":7"),
            ("BITPOS s 1 12 15 BIT", ":-1"),
            ("BITPOS s 0 -13 -13 BIT", ":-1"),
            ("BITPOS s 0 -12 -12 BIT", ":12"),
            ("BITPOS s 1 1 1 BYTE", ":8"),
            ("BITPOS s 1 -90 -100", ":0"),
            ("BITPOS s 1 2 1", ":-1"),
            ("SET s \"\\xff\\xff\\xff\"", "+OK"),
            ("BITPOS s 0", ":24"),
            ("BITPOS s 0 0", ":24"),
            ("BITPOS s 0 -1", ":24"),
            ("BITPOS s 0 0 -1", ":-1"),
            ("BITPOS s 0 0 -1 BIT", ":-1"),
            ("BITPOS s 0 3", ":-1"),
            ("SET s \"\"", "+OK"),
            ("BITPOS s 0", ":-1"),
            ("BITPOS no 0", ":0"),
            ("BITPOS no 0 5", ":0"),
            ("BITPOS no 1", ":-1"),
        ]);
    }

    #[test]
    fn mistakes() {
        let integer = "-ERR value is not an integer or out of range";
        script(&[
            ("BITPOS no 2", "-ERR The bit argument must be 1 or 0."),
            ("BITPOS no 2 x", "-ERR The bit argument must be 1 or 0."),
            ("BITPOS no x", integer),
            ("BITPOS no 0 x", integer),
            ("BITPOS no 0 0 x", integer),
            ("BITPOS no 0 0 0 FOO", "-ERR syntax error"),
            ("BITPOS no 0 0 1 BIT x", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn far_into_a_long_string() {
        let mut rig = Rig::new();
        for at in [0, 511, 512, 513, 1_000_000, 1_000_007] {
            rig.script(&[("DEL k", if at == 0 { ":0" } else { ":1" }), (&format!("SETBIT k {at} 1"), ":0")]);
            rig.script(&[("SETBIT k 2000000 0", ":0"), ("BITPOS k 1", &format!(":{at}"))]);
            rig.script(&[
                ("BITOP NOT k k", ":250001"),
                ("BITPOS k 0", &format!(":{at}")),
                (&format!("BITPOS k 0 {} -1 BIT", at + 1), ":-1"),
            ]);
        }
    }
}
