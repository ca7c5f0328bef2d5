//! `CLIENT GETNAME` and `CLIENT SETNAME`.

use crate::context::{Ctx, Outcome};
use crate::error::{Error, shown};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const GETNAME: Spec = Spec {
    name: "getname",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "2.6.9",
    summary: "Returns the name of this connection.",
    run: Some(getname),
    ..Spec::NEW
};

pub const SETNAME: Spec = Spec {
    name: "setname",
    arity: 3,
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "2.6.9",
    summary: "Names this connection.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg::string("connection-name")],
    run: Some(setname),
    ..Spec::NEW
};

fn getname(cx: &mut Ctx<'_>) -> Outcome {
    let name = &cx.session.client.text.lock().name;
    cx.reply.bulk_or_null((!name.is_empty()).then_some(name));
    Ok(())
}

fn setname(cx: &mut Ctx<'_>) -> Outcome {
    check_name(cx.args[2])?;
    cx.session.client.text.lock().name = cx.args[2].to_vec();
    cx.reply.ok();
    Ok(())
}

/// What a client calls itself stands in CLIENT LIST between blanks, in lines.
///
/// # Errors
/// For anything but visible ASCII.
pub(in crate::connection) fn check_name(name: &[u8]) -> Result<(), Error> {
    match is_plain(name) {
        true => Ok(()),
        false => Err(Error::text("ERR Client names cannot contain spaces, newlines or special characters.")),
    }
}

/// Visible ASCII only, or nothing at all: as far as it is shown, which is where Redis stops looking too.
pub(super) fn is_plain(text: &[u8]) -> bool {
    shown(text).iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn names_are_visible_ascii_or_nothing() {
        script(&[
            ("CLIENT GETNAME", "$-1"),
            ("CLIENT SETNAME a~!b", "+OK"),
            ("CLIENT GETNAME", "$4 a~!b"),
            ("CLIENT SETNAME \"a b\"", "-ERR Client names cannot contain spaces, newlines or special characters."),
            ("CLIENT SETNAME \"a\\x7fb\"", "-ERR Client names cannot contain spaces, newlines or special characters."),
            ("CLIENT GETNAME", "$4 a~!b"),
            ("CLIENT SETNAME \"c\\x00 d\"", "+OK"),
            ("CLIENT SETNAME \"\"", "+OK"),
            ("CLIENT GETNAME", "$-1"),
        ]);
    }
}
