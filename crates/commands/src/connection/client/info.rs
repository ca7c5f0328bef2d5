//! `CLIENT INFO`.

use super::list::{describe, note_command};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "info",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "6.2.0",
    summary: "Describes this connection.",
    tips: &["nondeterministic_output"],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    note_command(cx);
    let mut line = String::new();
    describe(&mut line, &cx.session.client, &cx.global().registry, cx.db.now);
    cx.reply.verbatim("txt", line.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn it_is_the_line_of_the_one_who_asks() {
        let mut rig = Rig::new();
        let line = rig.run("CLIENT INFO");
        assert!(line.contains("id=1 addr=127.0.0.1:50000 "), "{line}");
        assert!(line.contains(" cmd=client|info "), "{line}");
    }
}
