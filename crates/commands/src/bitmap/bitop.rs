//! `BITOP`.

use std::sync::Arc;

use keyspace::{Expiry, IntBuffer, Key, LARGE_LEN_MIN, NewValue};
use smallvec::SmallVec;

use super::combine::{Operation, combine};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "bitop",
    arity: -4,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::BITMAP).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 2),
        KeySpec::range(KeyFlags::RO.union(KeyFlags::ACCESS), 3, -1, 1),
    ],
    group: Group::Bitmap,
    since: "2.6.0",
    summary: "Combines the bits of strings, and stores the result.",
    complexity: "O(N), N being the length of all strings together",
    args: &[
        Arg::one_of(
            "operation",
            &[
                Arg::word("and", "AND"),
                Arg::word("or", "OR"),
                Arg::word("xor", "XOR"),
                Arg::word("not", "NOT"),
                Arg::word("diff", "DIFF"),
                Arg::word("diff1", "DIFF1"),
                Arg::word("andor", "ANDOR"),
                Arg::word("one", "ONE"),
            ],
        ),
        Arg::key("destkey", 0),
        Arg::key("key", 1).multiple(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let Some(&(operation, name)) = Operation::ALL.iter().find(|(_, name)| cx.word(1, name)) else {
        return Err(Error::Syntax.into());
    };
    let [destination, sources @ ..] = cx.keys else { unreachable!("the arity wants a source") };
    match operation {
        Operation::Not if sources.len() != 1 => {
            return cx.fail("ERR BITOP NOT must be called with a single source key.");
        }
        Operation::Diff | Operation::Diff1 | Operation::AndOr if sources.len() < 2 => {
            let text = format!("ERR BITOP {name} must be called with at least two source keys.");
            return Err(Error::string(text).into());
        }
        _ => {}
    }
    let mut len = 0;
    for &source in sources {
        if let Some(entry) = cx.db.read(source) {
            len = len.max(entry.string()?.len());
        }
    }
    if len == 0 {
        if cx.db.clear(*destination) {
            cx.db.changed(1);
        }
        cx.reply.int(0);
        return Ok(());
    }
    let buffer = buffer(cx, *destination, sources, len);
    let result = {
        let entries = cx.db.glance_all(sources);
        let strings: SmallVec<[_; 4]> = entries.iter().map(|entry| entry.map(|entry| entry.string())).collect();
        let mut integers: SmallVec<[IntBuffer; 4]> = sources.iter().map(|_| IntBuffer::new()).collect();
        let texts: SmallVec<[&[u8]; 4]> = strings
            .iter()
            .zip(&mut integers)
            .map(|(string, integer)| match string {
                Some(Ok(string)) => string.bytes(integer),
                Some(Err(_)) => unreachable!("the type was checked, and nothing was changed since"),
                None => &[],
            })
            .collect();
        combine(operation, &texts, buffer)
    };
    assert_eq!(result.len(), len);
    let value = if len < LARGE_LEN_MIN { NewValue::Raw(&result) } else { NewValue::Large(Arc::new(result)) };
    cx.db.set(*destination, value, Expiry::Clear);
    cx.db.notify(EventClass::STRING, "set", destination.bytes());
    cx.db.changed(1);
    cx.reply.count(len);
    Ok(())
}

/// Room for the result: the destination's own, which it leaves empty, where it fits and nobody reads it. To write over what is there
/// costs half of what the system wants for fresh pages.
fn buffer(cx: &mut Ctx<'_>, destination: Key<'_>, sources: &[Key<'_>], len: usize) -> Vec<u8> {
    if len < LARGE_LEN_MIN || sources.iter().any(|source| source.bytes() == destination.bytes()) {
        return Vec::new();
    }
    cx.db.write(destination).and_then(|mut entry| entry.take_large(len..=2 * len)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn all_operations() {
        script(&[
            ("MSET a abc b ab c 1 i 12", "+OK"),
            ("BITOP AND d a b", ":3"),
            ("GET d", "$3 ab\0"),
            ("BITOP or d a c", ":3"),
            ("GET d", "$3 qbc"),
            ("BITOP XOR d a b", ":3"),
            ("GET d", "$3 \0\0c"),
            ("BITOP NOT d a", ":3"),
            ("BITOP NOT d d", ":3"),
            ("GET d", "$3 abc"),
            ("BITOP DIFF d a b no", ":3"),
            ("GET d", "$3 \0\0c"),
            ("BITOP DIFF1 d b a", ":3"),
            ("GET d", "$3 \0\0c"),
            ("BITOP DIFF1 d no a b", ":3"),
            ("GET d", "$3 abc"),
            ("BITOP ANDOR d a c b", ":3"),
            ("GET d", "$3 ab\0"),
            ("BITOP ANDOR d no a b", ":3"),
            ("GET d", "$3 \0\0\0"),
            ("BITOP ONE d a b c", ":3"),
            ("GET d", "$3 \u{10}\0c"),
            ("BITOP ONE d a", ":3"),
            ("GET d", "$3 abc"),
            ("BITOP AND d i i", ":2"),
            ("OBJECT ENCODING d", "$3 raw"),
            ("OBJECT ENCODING i", "$3 int"),
            ("GET d", "$2 12"),
        ]);
    }

    #[test]
    fn the_destination_is_overwritten_or_removed() {
        script(&[
            ("SET a abc EX 100", "+OK"),
            ("BITOP AND a a", ":3"),
            ("TTL a", ":-1"),
            ("BITOP OR a no", ":0"),
            ("EXISTS a", ":0"),
            ("BITOP OR a no", ":0"),
            ("SET e \"\"", "+OK"),
            ("BITOP NOT e e", ":0"),
            ("EXISTS e", ":0"),
        ]);
    }

    #[test]
    fn mistakes() {
        script(&[
            ("BITOP FOO d a", "-ERR syntax error"),
            ("BITOP NOT d a b", "-ERR BITOP NOT must be called with a single source key."),
            ("BITOP DIFF d a", "-ERR BITOP DIFF must be called with at least two source keys."),
            ("BITOP diff1 d a", "-ERR BITOP DIFF1 must be called with at least two source keys."),
            ("BITOP ANDOR d a", "-ERR BITOP ANDOR must be called with at least two source keys."),
            ("BITOP AND d", "-ERR wrong number of arguments for 'bitop' command"),
        ]);
    }

    /// The destination's memory is used again, whatever it held, and whether or not it is a source.
    #[test]
    fn long_strings() {
        let mut rig = Rig::new();
        let text = |seed: u8, len: usize| (0..len).map(|at| (at as u8).wrapping_mul(seed)).collect::<Vec<u8>>();
        let bulk = |text: &[u8]| [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
        let (a, b) = (text(7, 100_000), text(11, 90_000));
        rig.run_args(&[b"SET", b"a", &a]);
        rig.run_args(&[b"SET", b"b", &b]);
        rig.run_args(&[b"SET", b"d", &text(3, 120_000)]);
        let mut xor = a.clone();
        xor.iter_mut().zip(&b).for_each(|(x, y)| *x ^= y);
        rig.script(&[("BITOP XOR d a b", ":100000")]);
        assert_eq!(rig.run_args(&[b"GET", b"d"]), bulk(&xor));
        rig.script(&[("BITOP XOR d d b", ":100000")]);
        assert_eq!(rig.run_args(&[b"GET", b"d"]), bulk(&a));
        rig.script(&[("BITOP AND d b b", ":90000"), ("COPY d e", ":1"), ("BITOP OR d a a", ":100000")]);
        assert_eq!(rig.run_args(&[b"GET", b"d"]), bulk(&a));
        assert_eq!(rig.run_args(&[b"GET", b"e"]), bulk(&b));
        rig.script(&[("SETRANGE d 999999 x", ":1000000"), ("BITOP OR d b", ":90000")]);
        assert_eq!(rig.run_args(&[b"GET", b"d"]), bulk(&b));
    }
}
