//! `ACL LIST` and `ACL USERS`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Group, Spec};

pub const LIST: Spec = Spec {
    name: "list",
    arity: 2,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "6.0.0",
    summary: "Lists the users and their rules, in the form of an ACL file.",
    complexity: "O(N), N being the number of users",
    run: Some(list),
    ..Spec::NEW
};

pub const USERS: Spec = Spec {
    name: "users",
    arity: 2,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "6.0.0",
    summary: "Lists the users' names.",
    complexity: "O(N), N being the number of users",
    run: Some(users),
    ..Spec::NEW
};

fn list(cx: &mut Ctx<'_>) -> Outcome {
    let global = cx.global();
    let line = |user: &std::sync::Arc<acl::User>| {
        [b"user ", user.name(), b" ", &user.describe(&*global.registry)[..]].concat()
    };
    let lines: Vec<Vec<u8>> = global.access.users().iter().map(line).collect();
    cx.reply.array(lines.len());
    lines.iter().for_each(|line| cx.reply.bulk(line));
    Ok(())
}

fn users(cx: &mut Ctx<'_>) -> Outcome {
    let names: Vec<Vec<u8>> = cx.global().access.users().iter().map(|user| user.name().to_vec()).collect();
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn by_name() {
        script(&[
            ("ACL SETUSER zoe on nopass ~* &* +@all -get", "+OK"),
            ("ACL SETUSER anna (~a db=1)", "+OK"),
            ("ACL USERS", "*3 $4 anna $7 default $3 zoe"),
            (
                "ACL LIST",
                "*3 $80 user anna off sanitize-payload resetchannels -@all (~a resetchannels db=1 -@all) \
                 $51 user default on nopass sanitize-payload ~* &* +@all \
                 $52 user zoe on nopass sanitize-payload ~* &* +@all -get",
            ),
        ]);
    }
}
