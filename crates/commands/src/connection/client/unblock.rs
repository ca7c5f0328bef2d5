//! `CLIENT UNBLOCK`.

use super::check_arguments_max;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

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
    cx.int(2)?;
    // No command blocks yet, and a client behind CLIENT PAUSE cannot be unblocked in Redis either.
    cx.reply.int(0);
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
