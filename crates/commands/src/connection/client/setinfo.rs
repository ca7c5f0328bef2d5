//! `CLIENT SETINFO`.

use super::name::is_plain;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "setinfo",
    arity: 4,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "7.2.0",
    summary: "Records name or version of the client's library.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg::one_of("attr", &[Arg::string("libname").token("LIB-NAME"), Arg::string("libver").token("LIB-VER")])],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let value = cx.args[3];
    let version = cx.word(2, "LIB-VER");
    if !version && !cx.word(2, "LIB-NAME") {
        return Err(Error::quoting("ERR Unrecognized option '", cx.args[2], "'").into());
    }
    if !is_plain(value) {
        // The option is quoted as it was sent.
        return Err(
            Error::quoting("ERR ", cx.args[2], " cannot contain spaces, newlines or special characters.").into()
        );
    }
    let text = &mut *cx.session.client.text.lock();
    *if version { &mut text.library_version } else { &mut text.library_name } = value.to_vec();
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn name_and_version() {
        script(&[
            ("CLIENT SETINFO LIB-NAME jedis(x;y)", "+OK"),
            ("CLIENT SETINFO lib-ver 1.2", "+OK"),
            ("CLIENT SETINFO foo bar", "-ERR Unrecognized option 'foo'"),
            ("CLIENT SETINFO Lib-Name \"a b\"", "-ERR Lib-Name cannot contain spaces, newlines or special characters."),
            ("CLIENT SETINFO lib-ver \"a b\"", "-ERR lib-ver cannot contain spaces, newlines or special characters."),
        ]);
    }
}
