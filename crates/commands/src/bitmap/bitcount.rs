//! `BITCOUNT`.

use super::count::count_ones;
use super::range::{Split, Written};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "bitcount",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::BITMAP).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Bitmap,
    since: "2.6.0",
    summary: "Counts the bits that are set in a string, or in a part of it.",
    complexity: "O(N), N being the length of the part",
    history: &[
        ("7.0.0", "The range may be given in bits: `BIT`, beside `BYTE`."),
        ("8.0.0", "The end may be left out (Valkey)."),
    ],
    args: &[
        Arg::key("key", 0),
        Arg::block(
            "range",
            &[
                Arg::integer("start"),
                Arg::integer("end"),
                Arg::one_of("unit", &[Arg::word("byte", "BYTE"), Arg::word("bit", "BIT")]).since("7.0.0").optional(),
            ],
        )
        .optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let written = match cx.args.len() {
        2 => Written::WHOLE,
        // Redis wants both ends; only Valkey does without the second.
        3 => return Err(Error::Syntax.into()),
        _ => Written::parse(cx, 2, false)?,
    };
    let Some(entry) = cx.db.read(cx.keys[0]) else {
        cx.reply.int(0);
        return Ok(());
    };
    let string = entry.string()?;
    // Two negative ends in the wrong order are empty before they are clamped; afterwards both might be 0, which is not.
    let backwards = written.start < 0 && written.end < 0 && written.start > written.end;
    let count = match written.bits(string.len()) {
        Some(bits) if !backwards => string.with_bytes(|bytes| {
            let Split { head, body, tail } = Split::of(bits);
            let parts = [head, tail].into_iter().flatten();
            let partial: u32 = parts.map(|(at, mask)| (bytes[at] & mask).count_ones()).sum();
            count_ones(&bytes[body]) + u64::from(partial)
        }),
        _ => 0,
    };
    cx.reply.int(count as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn ranges() {
        script(&[
            ("SET s foobar", "+OK"),
            ("BITCOUNT s", ":26"),
            ("BITCOUNT s 0 0", ":4"),
            ("BITCOUNT s 1 1 BYTE", ":6"),
            ("BITCOUNT s 5 30 bit", ":17"),
            ("BITCOUNT s 1 1 BIT", ":1"),
            ("BITCOUNT s 3 3 BIT", ":0"),
            ("BITCOUNT s 8 15 BIT", ":6"),
            ("BITCOUNT s -1 -5", ":0"),
            ("BITCOUNT s -100 -90", ":4"),
            ("BITCOUNT s -90 -100", ":0"),
            ("BITCOUNT s 9223372036854775807 -1", ":0"),
            ("BITCOUNT s -9223372036854775808 -9223372036854775808", ":4"),
            ("BITCOUNT s -9223372036854775808 9223372036854775807 BIT", ":26"),
            ("SET s \"\"", "+OK"),
            ("BITCOUNT s", ":0"),
            ("BITCOUNT s 0 -1 BIT", ":0"),
            ("SET s 12345", "+OK"),
            ("BITCOUNT s", ":17"),
            ("BITCOUNT no", ":0"),
        ]);
    }

    #[test]
    fn mistakes() {
        let syntax = "-ERR syntax error";
        let integer = "-ERR value is not an integer or out of range";
        script(&[
            ("BITCOUNT no 0", syntax),
            ("BITCOUNT no x 1", integer),
            ("BITCOUNT no x 1 FOO", integer),
            ("BITCOUNT no 0 x FOO", integer),
            ("BITCOUNT no 0 1 FOO", syntax),
            ("BITCOUNT no 0 1 BIT 3", syntax),
            ("BITCOUNT", "-ERR wrong number of arguments for 'bitcount' command"),
        ]);
    }
}
