//! `BITFIELD` and `BITFIELD_RO`.

use super::field::{FieldType, Overflow};
use super::{BAD_OFFSET, bit_offset, grow, in_reach};
use crate::context::{Ctx, Outcome};
use crate::db::ExpectString;
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const BITFIELD: Spec = Spec {
    name: "bitfield",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::BITMAP).union(Acl::SLOW),
    keys: &[KeySpec::one(
        KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE).union(KeyFlags::VARIABLE_FLAGS),
        1,
    )
    .notes("This command allows both access and modification of the key")],
    key_flags: Some(key_flags),
    group: Group::Bitmap,
    since: "3.2.0",
    summary: "Reads, sets and increments integers of any width at any bit of a string.",
    complexity: "O(1) an operation",
    args: &[
        Arg::key("key", 0),
        Arg::one_of(
            "operation",
            &[
                Arg::block("get-block", &[Arg::string("encoding"), Arg::integer("offset")]).token("GET"),
                Arg::block(
                    "write",
                    &[
                        Arg::one_of(
                            "overflow-block",
                            &[Arg::word("wrap", "WRAP"), Arg::word("sat", "SAT"), Arg::word("fail", "FAIL")],
                        )
                        .token("OVERFLOW")
                        .optional(),
                        Arg::one_of(
                            "write-operation",
                            &[
                                Arg::block(
                                    "set-block",
                                    &[Arg::string("encoding"), Arg::integer("offset"), Arg::integer("value")],
                                )
                                .token("SET"),
                                Arg::block(
                                    "incrby-block",
                                    &[Arg::string("encoding"), Arg::integer("offset"), Arg::integer("increment")],
                                )
                                .token("INCRBY"),
                            ],
                        ),
                    ],
                ),
            ],
        )
        .optional()
        .multiple(),
    ],
    run: Some(run),
    ..Spec::NEW
};

pub const BITFIELD_RO: Spec = Spec {
    name: "bitfield_ro",
    arity: -2,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::BITMAP).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Bitmap,
    since: "6.0.0",
    summary: "Reads integers of any width at any bit of a string.",
    complexity: "O(1) an operation",
    args: &[
        Arg::key("key", 0),
        Arg::block("get-block", &[Arg::string("encoding"), Arg::integer("offset")])
            .token("GET")
            .optional()
            .multiple_token(),
    ],
    run: Some(run_ro),
    ..Spec::NEW
};

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy)]
struct Operation {
    action: Action,
    field: FieldType,
    offset: u64,
    overflow: Overflow,
}

impl Operation {
    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }
}

/// The operations of a call. They are read twice, to check all of them and to run them, so that nothing is allocated.
#[derive(Clone)]
struct Operations<'a> {
    args: std::slice::Iter<'a, &'a [u8]>,
    overflow: Overflow,
    bytes_max: usize,
}

impl<'a> Operations<'a> {
    fn of(cx: &Ctx<'a>) -> Operations<'a> {
        let bytes_max = cx.global().settings.bulk_bytes_max;
        Operations { args: cx.args[2..].iter(), overflow: Overflow::Wrap, bytes_max }
    }

    /// `#2` is the second field of this width, counted from 0. As in Redis, a product beyond 64 bits wraps.
    fn offset(&self, text: &[u8], field: FieldType) -> Result<u64, Error> {
        match text.strip_prefix(b"#") {
            None => bit_offset(text, self.bytes_max),
            Some(text) => {
                let index = resp::number::parse_i64(text).ok_or(BAD_OFFSET)?;
                in_reach(index.wrapping_mul(i64::from(field.bits)), self.bytes_max)
            }
        }
    }

    fn parse(&mut self, word: &[u8]) -> Result<Option<Operation>, Error> {
        let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
        let left = self.args.len();
        let mut next = || *self.args.next().expect("counted before");
        if is("OVERFLOW") && left >= 1 {
            let mode = next();
            let is = |text: &str| mode.eq_ignore_ascii_case(text.as_bytes());
            self.overflow = match () {
                () if is("WRAP") => Overflow::Wrap,
                () if is("SAT") => Overflow::Saturate,
                () if is("FAIL") => Overflow::Fail,
                () => return Err(Error::text("ERR Invalid OVERFLOW type specified")),
            };
            return Ok(None);
        }
        let action: fn(i64) -> Action = match () {
            () if is("GET") && left >= 2 => |_| Action::Get,
            () if is("SET") && left >= 3 => Action::Set,
            () if is("INCRBY") && left >= 3 => Action::Add,
            () => return Err(Error::Syntax),
        };
        let (field, offset) = (next(), next());
        let Some(field) = FieldType::parse(field) else {
            return Err(Error::text(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
            ));
        };
        let offset = self.offset(offset, field)?;
        let mut action = action(0);
        if let Action::Set(value) | Action::Add(value) = &mut action {
            let text = *self.args.next().expect("counted before");
            *value = resp::number::parse_i64(text).ok_or(Error::NotInteger)?;
        }
        Ok(Some(Operation { action, field, offset, overflow: self.overflow }))
    }
}

impl Iterator for Operations<'_> {
    type Item = Result<Operation, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(word) = self.args.next() {
            match self.parse(word) {
                Ok(None) => {}
                Ok(Some(operation)) => return Some(Ok(operation)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// What all operations come to.
struct Plan {
    operations: usize,
    /// The length that the writing ones need; `None`: all of them read.
    written_len: Option<usize>,
}

impl Plan {
    fn of(operations: Operations<'_>) -> Result<Plan, Stop> {
        let mut plan = Plan { operations: 0, written_len: None };
        for operation in operations {
            let operation = operation?;
            plan.operations += 1;
            if operation.writes() {
                plan.written_len = plan.written_len.max(Some(operation.field.end(operation.offset)));
            }
        }
        Ok(plan)
    }
}

/// Whether a call only reads shows in its words, whatever else is wrong with it.
fn key_flags(args: &[&[u8]]) -> KeyFlags {
    let mut at = 2;
    while at < args.len() {
        let is = |text: &str| args[at].eq_ignore_ascii_case(text.as_bytes());
        match () {
            () if is("GET") && at + 2 < args.len() => at += 3,
            () if is("OVERFLOW") && at + 1 < args.len() => at += 2,
            () => return KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE),
        }
    }
    KeyFlags::RO.union(KeyFlags::ACCESS)
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let plan = Plan::of(Operations::of(cx))?;
    match plan.written_len {
        None => read(cx, &plan),
        Some(len) => write(cx, &plan, len),
    }
}

fn run_ro(cx: &mut Ctx<'_>) -> Outcome {
    let plan = Plan::of(Operations::of(cx))?;
    match plan.written_len {
        None => read(cx, &plan),
        Some(_) => cx.fail("ERR BITFIELD_RO only supports the GET subcommand"),
    }
}

fn read(cx: &mut Ctx<'_>, plan: &Plan) -> Outcome {
    let operations = Operations::of(cx).flatten();
    let string = cx.db.read(cx.keys[0]).map(ExpectString::string).transpose()?;
    let reply = |bytes: &[u8]| {
        cx.reply.array(plan.operations);
        for operation in operations {
            cx.reply.int(operation.field.get(bytes, operation.offset));
        }
    };
    match string {
        None => reply(b""),
        Some(string) => string.with_bytes(reply),
    }
    Ok(())
}

fn write(cx: &mut Ctx<'_>, plan: &Plan, len: usize) -> Outcome {
    let key = cx.keys[0];
    let operations = Operations::of(cx).flatten();
    let grown = grow(cx, key, len)?;
    let mut entry = cx.db.write(key).expect("the key is there");
    let bytes = entry.bytes_mut(len);
    let mut changes = 0;
    cx.reply.array(plan.operations);
    for Operation { action, field, offset, overflow } in operations {
        let before = field.get(bytes, offset);
        let exact = match action {
            Action::Get => {
                cx.reply.int(before);
                continue;
            }
            Action::Set(value) if field.signed => i128::from(value),
            // A negative number is a large one here: it saturates at the upper end.
            Action::Set(value) => i128::from(value as u64),
            Action::Add(increment) => i128::from(before) + i128::from(increment),
        };
        let Some(value) = field.fit(exact, overflow) else {
            cx.reply.null();
            continue;
        };
        field.set(bytes, offset, value);
        cx.reply.int(if matches!(action, Action::Set(_)) { before } else { value });
        changes += u64::from(grown || value != before);
    }
    if changes > 0 {
        cx.db.notify(EventClass::STRING, "setbit", key.bytes());
    } else if grown {
        // All writes have failed, but the string is longer than it was. Redis 8.2 says nothing of that to its replicas; ours shall not
        // differ from us. It is no event, as there.
        changes = 1;
    }
    cx.db.changed(changes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn reads_and_writes() {
        script(&[
            ("BITFIELD k", "*0"),
            ("BITFIELD k GET u8 0", "*1 :0"),
            ("BITFIELD k OVERFLOW FAIL", "*0"),
            ("EXISTS k", ":0"),
            ("BITFIELD k SET i8 0 200 GET i8 0 GET u8 0", "*3 :0 :-56 :200"),
            ("BITFIELD k SET u4 #1 5 INCRBY u4 #1 -6 GET u8 #0", "*3 :8 :15 :207"),
            ("BITFIELD k SET u5 3 7 GET u5 3 GET u5 4 SET i7 61 -3 GET i7 61 GET i7 62", "*6 :15 :7 :14 :0 :-3 :-6"),
            ("STRLEN k", ":9"),
            ("BITFIELD_RO k GET u5 3 GET i7 61 GET u63 4000000000", "*3 :7 :-3 :0"),
            ("SET i 12345", "+OK"),
            ("BITFIELD i GET u8 0 GET u8 8 GET i16 32", "*3 :49 :50 :13568"),
            ("OBJECT ENCODING i", "$3 int"),
            ("BITFIELD i INCRBY u8 0 0", "*1 :49"),
            ("OBJECT ENCODING i", "$3 raw"),
            ("SET t abc EX 100", "+OK"),
            ("BITFIELD t SET u8 0 98", "*1 :97"),
            ("GET t", "$3 bbc"),
            ("TTL t", ":100"),
        ]);
    }

    #[test]
    fn overflow() {
        script(&[
            ("BITFIELD k SET u8 0 -1 GET u8 0", "*2 :0 :255"),
            ("BITFIELD k OVERFLOW FAIL SET u8 0 256 INCRBY u8 0 1 GET u8 0", "*3 $-1 $-1 :255"),
            ("BITFIELD k SET u8 0 9 OVERFLOW SAT SET u8 0 -5 GET u8 0", "*3 :255 :9 :255"),
            ("BITFIELD k OVERFLOW SAT INCRBY u8 0 -300 INCRBY u8 0 300 SET i8 0 -200 GET i8 0", "*4 :0 :255 :-1 :-128"),
            ("BITFIELD k SET i8 0 -1 INCRBY i8 0 300 INCRBY i8 0 -300", "*3 :-128 :43 :-1"),
            (
                "BITFIELD k SET i64 0 9223372036854775806 INCRBY i64 0 9223372036854775807 INCRBY i64 0 -9223372036854775808",
                "*3 :-72057594037927936 :-3 :9223372036854775805",
            ),
            (
                "BITFIELD k SET u63 0 9223372036854775807 OVERFLOW SAT INCRBY u63 0 1 INCRBY u63 0 -9223372036854775808",
                "*3 :4611686018427387902 :9223372036854775807 :0",
            ),
            // The key is made, and as long as the field needs, all the same.
            ("BITFIELD n OVERFLOW FAIL SET u8 100 300", "*1 $-1"),
            ("STRLEN n", ":14"),
        ]);
    }

    #[test]
    fn mistakes() {
        let kind = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
        let offset = "-ERR bit offset is not an integer or out of range";
        let syntax = "-ERR syntax error";
        let integer = "-ERR value is not an integer or out of range";
        let read_only = "-ERR BITFIELD_RO only supports the GET subcommand";
        let mut rig = Rig::new();
        rig.world.global.settings.bulk_bytes_max = 1024 * 1024;
        rig.script(&[
            ("BITFIELD k GET", syntax),
            ("BITFIELD k GET u8", syntax),
            ("BITFIELD k SET u8 0", syntax),
            ("BITFIELD k FOO u8 0", syntax),
            ("BITFIELD k GET u8 0 FOO", syntax),
            ("BITFIELD k OVERFLOW", syntax),
            ("BITFIELD k OVERFLOW FOO SET u8 0 1", "-ERR Invalid OVERFLOW type specified"),
            ("BITFIELD k GET u64 0", kind),
            ("BITFIELD k SET u64 x x", kind),
            ("BITFIELD k SET u8 x x", offset),
            ("BITFIELD k SET u8 0 x", integer),
            ("BITFIELD k GET u8 -1", offset),
            ("BITFIELD k GET u8 #", offset),
            ("BITFIELD k GET u8 #-1", offset),
            ("BITFIELD k GET u8 #1048576", offset),
            ("BITFIELD k GET u8 #1048575", "*1 :0"),
            ("BITFIELD k GET u8 #2305843009213693952", "*1 :0"),
            ("BITFIELD_RO k SET u8 0 1", read_only),
            ("BITFIELD_RO k GET u8 0 INCRBY u8 0 1", read_only),
            ("BITFIELD_RO k SET u8 0 x", integer),
            ("BITFIELD_RO k OVERFLOW SAT", "*0"),
            ("EXISTS k", ":0"),
        ]);
    }
}
