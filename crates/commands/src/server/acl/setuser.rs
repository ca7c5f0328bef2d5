//! `ACL SETUSER`.

use acl::{User, join_selectors, name_is_valid};

use crate::access::new_users;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Arg, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "setuser",
    arity: -3,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "6.0.0",
    summary: "Makes a user, or changes one, by all of the rules or by none.",
    complexity: "O(N), N being the number of rules",
    history: &[
        ("6.2.0", "Patterns of channels."),
        ("7.0.0", "Selectors, and keys that may only be read or written."),
        ("9.1.0", "Rules about databases."),
    ],
    tips: super::ON_ALL_NODES,
    args: &[Arg::string("username"), Arg::string("rule").optional().multiple()],
    side: Side::Wide,
    // Names of users, and rules with passwords in them.
    is_secret: Some(|_, index| index >= 2),
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let name = cx.args[2];
    if !name_is_valid(name) {
        return cx.fail("ERR Usernames can't contain spaces or null characters");
    }
    let rules = join_selectors(cx.args[3..].iter().copied())
        .map_err(|unmatched| Error::Bytes([b"ERR ", &unmatched.message()[..]].concat()))?;
    let global = cx.global_mut()?;
    let registry = global.registry.clone();
    let new_users = new_users(&global.config);
    let before = global.access.users().get(name).cloned();
    let mut user = before.as_deref().cloned().unwrap_or_else(|| User::new(name, &*registry, new_users));
    for rule in &rules {
        user.apply(rule, &*registry, new_users)
            .map_err(|error| Error::quoting("ERR Error in ACL SETUSER modifier '", rule, &format!("': {error}")))?;
    }
    let needed_password = global.access.password_needed();
    global.access.set_user(user.clone());
    if before.is_some_and(|before| before.has_channels()) {
        super::close_clients(cx, |client| {
            client.text.lock().user == name && super::receives_what_is_forbidden(client, &user)
        })?;
    }
    super::tell_event_loops(cx, needed_password);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use crate::testing::{Rig, script};

    #[test]
    fn what_rules_are_refused_for() {
        let refused = |rule: &str, reason: &str| {
            let expected = format!("-ERR Error in ACL SETUSER modifier '{rule}': {reason}");
            script(&[("ACL SETUSER u allkeys", "+OK"), (&format!("ACL SETUSER u \"{rule}\""), &expected)]);
        };
        const UNKNOWN: &str = "Unknown command or category name in ACL";
        for rule in [
            "+foo",
            "-foo",
            "+@foo",
            "+",
            "-",
            "+@",
            "+|",
            "+|get",
            "+client|foo",
            "-select|0",
            "-config|",
            "+select|a|b",
            "+@all|x",
        ] {
            refused(rule, UNKNOWN);
        }
        for rule in ["foo", "+get|", "+config|", ")", "(on)", "(foo)", "(clearselectors)", "&a b", "db=x", "((~a)"] {
            refused(rule, "Syntax error");
        }
        for rule in ["+client|list|x", "+config|get|"] {
            refused(rule, "Allowing first-arg of a subcommand is not supported");
        }
        for rule in ["~b", "%R~b", "%foo", "%"] {
            let text = "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
                        'resetkeys' to start with an empty list of patterns";
            refused(rule, text);
        }
        refused("<nope", "The password you are trying to remove from the user does not exist");
        let hash = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters";
        refused("#1234", hash);
        refused("!1234", hash);
        refused("db=-1", "The provided database ID is out of range");
        script(&[
            ("ACL SETUSER \"a b\" on", "-ERR Usernames can't contain spaces or null characters"),
            ("ACL SETUSER u on (+get ~x", "-ERR Unmatched parenthesis in acl selector starting at '(+get'."),
            ("ACL SETUSER u +@all +foo", &format!("-ERR Error in ACL SETUSER modifier '+foo': {UNKNOWN}")),
            ("ACL USERS", "*1 $7 default"),
        ]);
    }

    #[test]
    fn rules_are_shown_as_they_count() {
        let shown = |rules: &str, commands: &str| {
            let mut rig = Rig::new();
            rig.script(&[(&format!("ACL SETUSER u {rules}"), "+OK")]);
            let reply = rig.run("ACL LIST");
            let line = reply.split(" $").find(|line| line.contains("user u ")).unwrap().to_owned();
            assert_eq!(line.split("resetchannels ").nth(1), Some(commands), "{rules}");
        };
        shown("", "-@all");
        shown("+get +set +get", "-@all +set +get");
        shown("+get +set -set", "-@all +get -set");
        shown("+GET +@READ -@Read", "-@all +get -@read");
        shown("+@all +get", "+@all +get");
        shown("+get +@all", "+@all");
        shown("allcommands -get +get", "+@all +get");
        shown("+client|list +client|id -client|list", "-@all +client|id -client|list");
        shown("+client|list +client|id +client", "-@all +client");
        shown("+SELECT|Abc +select|abc", "-@all +select|abc");
        shown("+select|x -select", "-@all -select");
        shown("+@read +get nocommands", "-@all");
    }

    #[test]
    fn channels_that_are_taken_away_end_subscriptions() {
        let mut rig = Rig::new();
        rig.script(&[("ACL SETUSER u on nopass +@all &a &p*", "+OK")]);
        rig.client(2).script(&[("AUTH u x", "+OK"), ("SUBSCRIBE a", "*3 $9 subscribe $1 a :1")]);
        let first = rig.session.client.clone();
        rig.client(3).script(&[("AUTH u x", "+OK"), ("PSUBSCRIBE p*", "*3 $10 psubscribe $2 p* :1")]);
        let second = rig.session.client.clone();
        let killed = || (first.killed.load(Relaxed), second.killed.load(Relaxed));
        rig.client(1).script(&[("ACL SETUSER u &b", "+OK"), ("ACL SETUSER u resetchannels &p* &a", "+OK")]);
        assert_eq!(killed(), (false, false));
        // A literal channel may be reached by any pattern, a pattern only by itself.
        rig.script(&[("ACL SETUSER u resetchannels &p* (&?)", "+OK")]);
        assert_eq!(killed(), (false, false));
        rig.script(&[("ACL SETUSER u resetchannels &p?", "+OK")]);
        assert_eq!(killed(), (false, true));
        rig.script(&[("ACL SETUSER u clearselectors", "+OK")]);
        assert_eq!(killed(), (true, true));
    }

    /// As in Redis 8.2, whatever the change is about; but nobody looks where the user had no channels at all.
    #[test]
    fn who_brought_subscriptions_of_another_user_is_sent_away_by_the_next_change() {
        for (rules, is_killed) in [("&a", true), ("(&a)", true), ("resetchannels", false), ("&*", false)] {
            let mut rig = Rig::new();
            rig.script(&[(&format!("ACL SETUSER u on nopass +@all {rules}"), "+OK")]);
            rig.client(2).script(&[("SUBSCRIBE b", "*3 $9 subscribe $1 b :1")]);
            let client = rig.session.client.clone();
            rig.session.client.text.lock().user = b"u".to_vec();
            rig.client(1).script(&[("ACL SETUSER u on", "+OK")]);
            assert_eq!(client.killed.load(Relaxed), is_killed, "{rules}");
        }
    }
}
