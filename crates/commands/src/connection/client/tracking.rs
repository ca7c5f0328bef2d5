//! `CLIENT GETREDIR` and `CLIENT TRACKINGINFO`: the truth about a server that does not track keys.
//!
//! `CLIENT TRACKING` and `CLIENT CACHING` come with the tracking itself; until then they are unknown subcommands, so that no
//! client trusts a cache that nobody invalidates.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Spec};

pub const GETREDIR: Spec = Spec {
    name: "getredir",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "6.0.0",
    summary: "Returns the id of the client that receives this connection's invalidations.",
    run: Some(getredir),
    ..Spec::NEW
};

pub const TRACKINGINFO: Spec = Spec {
    name: "trackinginfo",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "6.2.0",
    summary: "Tells how this connection tracks keys.",
    run: Some(trackinginfo),
    ..Spec::NEW
};

fn getredir(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.int(NO_REDIRECTION);
    Ok(())
}

fn trackinginfo(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.map(3);
    cx.reply.bulk("flags");
    cx.reply.set(1);
    cx.reply.bulk("off");
    cx.reply.bulk("redirect");
    cx.reply.int(NO_REDIRECTION);
    cx.reply.bulk("prefixes");
    cx.reply.array(0);
    Ok(())
}

const NO_REDIRECTION: i64 = -1;

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn tracking_is_off_and_cannot_be_switched_on() {
        script(&[
            ("CLIENT GETREDIR", ":-1"),
            ("CLIENT TRACKINGINFO", "*6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0"),
            ("CLIENT TRACKING ON", "-ERR unknown subcommand 'TRACKING'. Try CLIENT HELP."),
        ]);
    }
}
