//! `LPOP` and `RPOP`.

use keyspace::End;

use super::pop;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const LPOP: Spec = Spec {
    name: "lpop",
    arity: -2,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::WRITE.union(Acl::LIST).union(Acl::FAST),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE), 1)],
    group: Group::List,
    since: "1.0.0",
    summary: "Takes elements from the head of a list and returns them. The list goes with its last element.",
    complexity: "O(N) for N elements that are taken",
    history: &[("6.2.0", "The argument `count`.")],
    args: &[Arg::key("key", 0), Arg::integer("count").since("6.2.0").optional()],
    run: Some(|cx| run(cx, End::Front)),
    ..Spec::NEW
};

pub const RPOP: Spec = Spec {
    name: "rpop",
    summary: "Takes elements from the tail of a list and returns them. The list goes with its last element.",
    run: Some(|cx| run(cx, End::Back)),
    ..LPOP
};

fn run(cx: &mut Ctx<'_>, end: End) -> Outcome {
    let key = cx.keys[0];
    match cx.args.len() {
        2 => {
            if pop(cx, key, end, 1, |_, _| {})?.is_none() {
                cx.reply.null();
            }
        }
        3 => {
            let count = resp::number::parse_i64(cx.args[2]).and_then(|count| usize::try_from(count).ok());
            let Some(count) = count else {
                return cx.fail("ERR value is out of range, must be positive");
            };
            if pop(cx, key, end, count, |reply, count| reply.array(count))?.is_none() {
                cx.reply.null_array();
            }
        }
        _ => return Err(Error::Arity(cx.command.full_name.clone().into()).into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn one_or_several() {
        script(&[
            ("RPUSH l a b c 4 e", ":5"),
            ("LPOP l", "$1 a"),
            ("RPOP l 2", "*2 $1 e $1 4"),
            ("LPOP l 0", "*0"),
            ("LPOP l 9223372036854775807", "*2 $1 b $1 c"),
            ("EXISTS l", ":0"),
            ("LPOP l", "$-1"),
            ("RPOP l 0", "*-1"),
        ]);
    }

    #[test]
    fn errors_in_order() {
        script(&[
            ("SET s 1", "+OK"),
            ("LPOP s 1 2", "-ERR wrong number of arguments for 'lpop' command"),
            ("LPOP s x", "-ERR value is out of range, must be positive"),
            ("RPOP s -1", "-ERR value is out of range, must be positive"),
            ("LPOP s 9223372036854775808", "-ERR value is out of range, must be positive"),
            ("LPOP s 0", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("LPOP s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}
