//! `SHUTDOWN`.

use crate::blocking::Block;
use crate::context::{Ctx, Outcome, Shutdown, ShutdownOptions};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "shutdown",
    arity: -1,
    flags: Flags::ADMIN
        .union(Flags::NOSCRIPT)
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::NO_MULTI)
        .union(Flags::ALLOW_BUSY),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Saves if it is told or configured so, and ends the server.",
    complexity: "O(N) when it saves, N being the number of keys in all databases, otherwise O(1)",
    history: &[("7.0.0", "Modifiers `NOW`, `FORCE`, `ABORT`."), ("9.0.0", "Modifiers `SAFE`, `FAILOVER`.")],
    args: &[Arg::one_of(
        "abort-selector",
        &[
            Arg::block(
                "save-selector-block",
                &[
                    Arg::one_of("save-selector", &[Arg::word("nosave", "NOSAVE"), Arg::word("save", "SAVE")])
                        .optional(),
                    Arg::word("now", "NOW").since("7.0.0").optional(),
                    Arg::word("force", "FORCE").since("7.0.0").optional(),
                    Arg::word("safe", "SAFE").since("9.0.0").optional(),
                    Arg::word("failover", "FAILOVER").since("9.0.0").optional(),
                ],
            ),
            Arg::word("abort", "ABORT").since("7.0.0"),
        ],
    )
    .optional()],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let mut options = ShutdownOptions::default();
    for arg in &cx.args[1..] {
        let is = |word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        if is("NOSAVE") && options.save != Some(true) {
            options.save = Some(false);
        } else if is("SAVE") && options.save != Some(false) {
            options.save = Some(true);
        } else if is("NOW") {
            options.now = true;
        } else if is("FORCE") {
            options.force = true;
        } else if is("ABORT") {
            options.abort = true;
        } else if is("SAFE") {
            options.safe = true;
        } else if is("FAILOVER") {
            options.failover = true;
        } else {
            return Err(Error::Syntax.into());
        }
    }
    if options.abort && options != (ShutdownOptions { abort: true, ..ShutdownOptions::default() }) {
        return Err(Error::Syntax.into());
    }
    if options.failover {
        return cx.fail("ERR SHUTDOWN FAILOVER is only supported in cluster mode.");
    }
    // What a script has left half done must not be saved.
    if let Some(running) = &cx.global().scripts.running
        && options.save != Some(false)
        && !options.abort
    {
        return Err(running.busy().into());
    }
    let client_id = Some(cx.session.client.id);
    match cx.host.shutdown(cx.alone()?, client_id, options)? {
        // There is nobody left to reply: the client sees the connection close.
        Shutdown::Now => cx.session.close_after_reply = true,
        Shutdown::AfterSaving => return cx.block(Block::on_job()),
        Shutdown::Aborted => cx.reply.ok(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    #[test]
    fn options() {
        let mut rig = Rig::new();
        rig.script(&[
            ("SHUTDOWN foo", "-ERR syntax error"),
            ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error"),
            ("SHUTDOWN ABORT NOW", "-ERR syntax error"),
            ("SHUTDOWN NOSAVE ABORT", "-ERR syntax error"),
            ("SHUTDOWN FAILOVER NOW", "-ERR SHUTDOWN FAILOVER is only supported in cluster mode."),
            ("SHUTDOWN nosave now force", ""),
        ]);
        let asked = ShutdownOptions { save: Some(false), now: true, force: true, ..ShutdownOptions::default() };
        assert_eq!(*rig.host.shutdowns.lock(), [asked]);
        assert!(rig.session.close_after_reply);
    }
}
