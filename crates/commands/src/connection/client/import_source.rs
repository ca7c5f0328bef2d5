//! `CLIENT IMPORT-SOURCE`.

use super::on_or_off;
use crate::client::ClientFlags;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "import-source",
    arity: 3,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "8.1.0",
    summary: "Marks this connection as the source of an import, which sees expired keys.",
    args: &[Arg::one_of("enabled", &[Arg::word("on", "ON"), Arg::word("off", "OFF")])],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    // Switching it off is always possible; everything else is refused outside of import mode before it is even read.
    if !cx.word(2, "OFF") && !cx.global().settings.import_mode {
        return cx.fail("ERR Server is not in import mode");
    }
    let on = on_or_off(cx, 2)?;
    cx.session.client.set_flag(ClientFlags::IMPORT_SOURCE, on);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn only_in_import_mode() {
        script(&[
            ("CLIENT IMPORT-SOURCE FOO", "-ERR Server is not in import mode"),
            ("CLIENT IMPORT-SOURCE ON", "-ERR Server is not in import mode"),
            ("CLIENT IMPORT-SOURCE OFF", "+OK"),
            ("CONFIG SET import-mode yes", "+OK"),
            ("CLIENT IMPORT-SOURCE FOO", "-ERR syntax error"),
            ("CLIENT IMPORT-SOURCE ON", "+OK"),
        ]);
    }
}
