//! `CLIENT UNBLOCK`.

use super::check_arguments_max;
use crate::blocking::{self, Release};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "unblock",
    arity: -3,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS).union(Acl::CONNECTION),
    group: Group::Connection,
    since: "5.0.0",
    summary: "Wakes a client that waits in a blocking command.",
    complexity: "O(log N), N being the number of connections",
    args: &[
        Arg::integer("client-id"),
        Arg::one_of("unblock-type", &[Arg::word("timeout", "TIMEOUT"), Arg::word("error", "ERROR")]).optional(),
    ],
    // A waiter is claimed wide: by this, its timeout, or what it waits for.
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    check_arguments_max(cx, 4)?;
    match cx.args.get(3) {
        Some(reason) if !reason.eq_ignore_ascii_case(b"TIMEOUT") && !reason.eq_ignore_ascii_case(b"ERROR") => {
            return cx.fail("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        }
        _ => {}
    }
    let id = cx.int(2)?;
    let why = if cx.word(3, "ERROR") { Release::Error } else { Release::Timeout };
    let (host, stats) = (cx.host, cx.db.stats);
    let global = cx.global_mut()?;
    // A client behind CLIENT PAUSE cannot be unblocked in Redis either.
    let released = u64::try_from(id).is_ok_and(|id| blocking::release(global, host, stats, id, why));
    cx.reply.int(i64::from(released));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn nobody_waits() {
        script(&[
            ("CLIENT UNBLOCK 1", ":0"),
            ("CLIENT UNBLOCK 99 ERROR", ":0"),
            ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"),
            ("CLIENT UNBLOCK x foo", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
            (
                "CLIENT unblock 1 TIMEOUT x",
                "-ERR unknown subcommand or wrong number of arguments for 'unblock'. Try CLIENT HELP.",
            ),
        ]);
    }
}
