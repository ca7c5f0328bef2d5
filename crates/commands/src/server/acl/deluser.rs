//! `ACL DELUSER`.

use acl::DEFAULT_USER;

use crate::context::{Ctx, Outcome};
use crate::spec::{Arg, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "deluser",
    arity: -3,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "6.0.0",
    summary: "Deletes users, and closes their connections.",
    complexity: "O(N), N being the number of connections",
    tips: super::ON_ALL_NODES,
    args: &[Arg::string("username").multiple()],
    side: Side::Wide,
    // Names of users, and rules with passwords in them.
    is_secret: Some(|_, index| index >= 2),
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let mut deleted = 0;
    for &name in &cx.args[2..] {
        if name == DEFAULT_USER {
            return cx.fail("ERR The 'default' user cannot be removed");
        }
    }
    for &name in &cx.args[2..] {
        if cx.global_mut()?.access.remove_user(name).is_some() {
            deleted += 1;
            super::close_clients(cx, |client| client.text.lock().user == name)?;
        }
    }
    cx.reply.int(deleted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use crate::testing::Rig;

    #[test]
    fn who_is_deleted_is_gone() {
        let mut rig = Rig::new();
        rig.script(&[
            ("ACL SETUSER a on nopass +@all", "+OK"),
            ("ACL SETUSER b", "+OK"),
            ("ACL DELUSER a default", "-ERR The 'default' user cannot be removed"),
        ]);
        rig.client(2).script(&[("AUTH a x", "+OK"), ("BLPOP l 0", "-NOPERM No permissions to access a key")]);
        let client = rig.client(2).session.client.clone();
        rig.client(1).script(&[("ACL DELUSER a nosuch a b", ":2"), ("ACL USERS", "*1 $7 default")]);
        assert!(client.killed.load(Relaxed));
        assert!(!rig.session.client.killed.load(Relaxed));
    }

    #[test]
    fn who_deletes_himself_gets_the_reply() {
        let mut rig = Rig::new();
        rig.script(&[("ACL SETUSER a on nopass +@all", "+OK"), ("AUTH a x", "+OK"), ("ACL DELUSER a", ":1")]);
        assert!(rig.session.close_after_reply);
    }
}
