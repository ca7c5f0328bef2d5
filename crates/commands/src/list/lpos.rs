//! `LPOS`.

use std::ops::ControlFlow;

use keyspace::{End, List};

use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "lpos",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::LIST).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::List,
    since: "6.0.6",
    summary: "Returns the indexes of elements that are equal to one.",
    complexity: "O(N) for a list of N elements, of which MAXLEN limits those that are looked at",
    args: &[
        Arg::key("key", 0),
        Arg::string("element"),
        Arg::integer("rank").token("RANK").optional(),
        Arg::integer("num-matches").token("COUNT").optional(),
        Arg::integer("len").token("MAXLEN").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

struct Options {
    from: End,
    /// Matches that are passed over.
    skipped: u64,
    /// `None`: one, not as an array.
    count: Option<usize>,
    compared_max: usize,
}

impl Options {
    fn parse(cx: &Ctx<'_>) -> Result<Options, Stop> {
        let mut options = Options { from: End::Front, skipped: 0, count: None, compared_max: usize::MAX };
        let mut at = 3;
        while at < cx.args.len() {
            if at + 1 == cx.args.len() {
                return Err(Error::Syntax.into());
            }
            let unsigned = || resp::number::parse_i64(cx.args[at + 1]).and_then(|number| usize::try_from(number).ok());
            if cx.word(at, "RANK") {
                let rank = cx.int(at + 1)?;
                if rank == 0 {
                    return cx.fail(concat!(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... ",
                        "or use negative to start from the end of the list"
                    ));
                }
                if rank == i64::MIN {
                    return cx.fail(
                        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
                    );
                }
                options.from = if rank > 0 { End::Front } else { End::Back };
                options.skipped = rank.unsigned_abs() - 1;
            } else if cx.word(at, "COUNT") {
                let Some(count) = unsigned() else {
                    return cx.fail("ERR COUNT can't be negative");
                };
                options.count = Some(if count == 0 { usize::MAX } else { count });
            } else if cx.word(at, "MAXLEN") {
                let Some(compared_max) = unsigned() else {
                    return cx.fail("ERR MAXLEN can't be negative");
                };
                options.compared_max = if compared_max == 0 { usize::MAX } else { compared_max };
            } else {
                return Err(Error::Syntax.into());
            }
            at += 2;
        }
        Ok(options)
    }
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let Options { from, mut skipped, count, compared_max } = Options::parse(cx)?;
    let list = cx.db.read_as::<List>(cx.keys[0])?;
    let start = cx.reply.start_deferred();
    let count_max = count.unwrap_or(1);
    let mut found = 0;
    if let Some(list) = list {
        list.find_each(cx.args[2], from, compared_max, |index| {
            if skipped > 0 {
                skipped -= 1;
                return ControlFlow::Continue(());
            }
            cx.reply.count(index);
            found += 1;
            if found == count_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    if count.is_some() {
        cx.reply.finish_array(start, found);
    } else if found == 0 {
        cx.reply.null();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn rank_count_and_maxlen() {
        script(&[
            ("RPUSH l a b c 1 2 3 c c", ":8"),
            ("LPOS l c", ":2"),
            ("LPOS l 3", ":5"),
            ("LPOS l c RANK 2", ":6"),
            ("LPOS l c RANK -1", ":7"),
            ("LPOS l c RANK 4", "$-1"),
            ("LPOS l c RANK 9223372036854775807", "$-1"),
            ("LPOS l c COUNT 0", "*3 :2 :6 :7"),
            ("LPOS l c COUNT 2 RANK -1", "*2 :7 :6"),
            ("LPOS l c RANK -2 COUNT 0 MAXLEN 3", "*1 :6"),
            ("LPOS l c MAXLEN 2", "$-1"),
            ("LPOS l c MAXLEN 3", ":2"),
            ("LPOS l c COUNT 1 MAXLEN 2", "*0"),
            ("LPOS l c MAXLEN 0 RANK 2 RANK 1", ":2"),
            ("LPOS zz c", "$-1"),
            ("LPOS zz c COUNT 1", "*0"),
        ]);
    }

    #[test]
    fn options_are_judged_as_they_come() {
        let zero = concat!(
            "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... ",
            "or use negative to start from the end of the list"
        );
        script(&[
            ("SET s 1", "+OK"),
            ("LPOS s c RANK", "-ERR syntax error"),
            ("LPOS s c RANK x", "-ERR value is not an integer or out of range"),
            ("LPOS s c RANK 0 COUNT -1", zero),
            (
                "LPOS s c RANK -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
            ("LPOS s c COUNT -1", "-ERR COUNT can't be negative"),
            ("LPOS s c COUNT x", "-ERR COUNT can't be negative"),
            ("LPOS s c MAXLEN -1", "-ERR MAXLEN can't be negative"),
            ("LPOS s c FOO 1", "-ERR syntax error"),
            ("LPOS s c", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}
