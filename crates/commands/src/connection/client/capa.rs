//! `CLIENT CAPA`.

use std::sync::atomic::Ordering::Relaxed;

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "capa",
    arity: -3,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::ALLOW_BUSY),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "8.0.0",
    summary: "Declares what the client is able to handle.",
    args: &[Arg::string("capability").multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    // Unknown ones are fine: a client may be newer than the server. None is ever taken back.
    for name in &cx.args[2..] {
        if let Some(capability) = Capability::ALL.iter().find(|capability| name.eq_ignore_ascii_case(capability.name)) {
            cx.session.client.capabilities.fetch_or(capability.bit, Relaxed);
        }
    }
    cx.reply.ok();
    Ok(())
}

/// Something that a client may declare it can handle.
pub(super) struct Capability {
    name: &'static [u8],
    /// How filters of CLIENT LIST and KILL name it.
    pub letter: u8,
    /// In `Client::capabilities`.
    pub bit: u32,
}

impl Capability {
    pub const ALL: &[Capability] = &[Capability { name: b"redirect", letter: b'r', bit: 1 }];
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn unknown_ones_are_ignored() {
        script(&[
            ("CLIENT CAPA foo", "+OK"),
            ("CLIENT LIST CAPA r", "$0"),
            ("CLIENT CAPA foo REDIRECT", "+OK"),
            ("CLIENT LIST NOT-CAPA r", "$0"),
        ]);
    }
}
