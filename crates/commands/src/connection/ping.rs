//! `PING`.

use resp::Proto;

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "ping",
    arity: -1,
    flags: Flags::FAST,
    acl: Acl::FAST.union(Acl::CONNECTION),
    group: Group::Connection,
    summary: "Answers PONG, or its argument.",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    args: &[Arg::string("message").optional()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    if cx.session.is_subscriber && cx.reply.proto() == Proto::Resp2 && cx.args.len() <= 2 {
        // In the shape of a message, which is all that a subscriber of RESP2 can read.
        cx.reply.array(2);
        cx.reply.bulk("pong");
        cx.reply.bulk(cx.args.get(1).copied().unwrap_or_default());
        return Ok(());
    }
    match *cx.args {
        [_] => cx.reply.pong(),
        [_, message] => cx.reply.bulk(message),
        _ => return Err(Error::Arity("ping".into()).into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn with_and_without_a_message() {
        script(&[
            ("PING", "+PONG"),
            ("PING a", "$1 a"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
        ]);
    }
}
