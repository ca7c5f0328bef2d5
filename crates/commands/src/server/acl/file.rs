//! `ACL LOAD` and `ACL SAVE`.

use std::path::PathBuf;

use config::{LogLevel, directives, rewrite};

use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Group, Side, Spec};

pub const LOAD: Spec = Spec {
    name: "load",
    arity: 2,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "6.0.0",
    summary: "Reads the users from the ACL file again.",
    complexity: "O(N), N being the number of users",
    side: Side::Wide,
    run: Some(load),
    ..Spec::NEW
};

pub const SAVE: Spec = Spec {
    name: "save",
    arity: 2,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "6.0.0",
    summary: "Writes the users into the ACL file.",
    complexity: "O(N), N being the number of users",
    tips: super::ON_ALL_NODES,
    side: Side::Wide,
    run: Some(save),
    ..Spec::NEW
};

fn path(cx: &Ctx<'_>) -> Result<PathBuf, Stop> {
    match cx.global().config.path(directives::ACLFILE) {
        Some(path) => Ok(path.to_owned()),
        None => cx.fail(concat!(
            "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER ",
            "command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users ",
            "in the Redis configuration."
        )),
    }
}

/// All of the file, or nothing. Connections of users who stay go on, by the new rules; those of others are closed.
fn load(cx: &mut Ctx<'_>) -> Outcome {
    let path = path(cx)?;
    let global = cx.global_mut()?;
    let needed_password = global.access.password_needed();
    let users = global.access.read_file(&path, &global.config);
    let users = users.map_err(|text| Error::Bytes([b"ERR ", &text[..]].concat()))?;
    let old = global.access.replace_users(users.clone());
    super::close_clients(cx, |client| {
        let name = client.text.lock().user.clone();
        match (old.get(&name), users.get(&name)) {
            (Some(before), Some(now)) => before.has_channels() && super::receives_what_is_forbidden(client, now),
            (_, now) => now.is_none(),
        }
    })?;
    super::tell_event_loops(cx, needed_password);
    cx.reply.ok();
    Ok(())
}

fn save(cx: &mut Ctx<'_>) -> Outcome {
    let path = path(cx)?;
    let global = cx.global();
    let text = acl::encode_file(global.access.users(), &*global.registry);
    if let Err(error) = rewrite::write_atomically(&path, &text) {
        let text = format!("Saving the ACL file '{}' failed: {error}", path.display());
        cx.host.log(LogLevel::Warning, &text);
        return cx
            .fail("ERR There was an error trying to save the ACLs. Please check the server logs for more information");
    }
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn without_a_file() {
        let text = "-ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
                    command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store \
                    users in the Redis configuration.";
        script(&[("ACL LOAD", text), ("ACL SAVE", text)]);
    }
}
