//! `PING`.

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
