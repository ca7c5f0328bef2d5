//! `CLIENT REPLY`.

use crate::client::ReplyMode;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "reply",
    arity: 3,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "3.2.0",
    summary: "Says which commands of this connection get a reply.",
    args: &[Arg::one_of("action", &[Arg::word("on", "ON"), Arg::word("off", "OFF"), Arg::word("skip", "SKIP")])],
    run: Some(run),
    ..Spec::NEW
};

/// Replies only to ON. Otherwise what the connection's loop does with the next replies follows from the session's mode.
fn run(cx: &mut Ctx<'_>) -> Outcome {
    if cx.word(2, "ON") {
        cx.session.reply_mode = ReplyMode::On;
        cx.reply.set_skip(false);
        cx.reply.ok();
    } else if cx.word(2, "OFF") {
        cx.session.reply_mode = ReplyMode::Off;
    } else if cx.word(2, "SKIP") {
        // Within OFF there is nothing to skip, and the command behind must not switch replies on again.
        if cx.session.reply_mode != ReplyMode::Off {
            cx.session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(Error::Syntax.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::client::ReplyMode;
    use crate::testing::Rig;

    #[test]
    fn modes() {
        let mut rig = Rig::new();
        rig.script(&[
            ("CLIENT REPLY maybe", "-ERR syntax error"),
            ("CLIENT REPLY ON", "+OK"),
            ("CLIENT REPLY SKIP", ""),
        ]);
        assert_eq!(rig.session.reply_mode, ReplyMode::SkipNext);
        rig.script(&[("CLIENT REPLY OFF", ""), ("CLIENT REPLY SKIP", "")]);
        assert_eq!(rig.session.reply_mode, ReplyMode::Off);
        rig.reply.set_skip(true);
        rig.script(&[("CLIENT REPLY ON", "+OK")]);
    }
}
