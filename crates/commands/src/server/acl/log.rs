//! `ACL LOG`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Arg, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "log",
    arity: -2,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "6.0.0",
    summary: "Lists what users were refused last, or forgets it.",
    complexity: "O(N), N being the number of entries shown",
    history: &[("7.2.0", "Each entry shows its number, and when it was made and last changed.")],
    args: &[Arg::one_of("operation", &[Arg::integer("count"), Arg::word("reset", "RESET")]).optional()],
    run: Some(run),
    ..Spec::NEW
};

/// So many entries are shown unless more are asked for.
const ENTRIES_DEFAULT: i64 = 10;

fn run(cx: &mut Ctx<'_>) -> Outcome {
    super::check_arguments_max(cx, 3)?;
    if cx.word(2, "RESET") {
        cx.global().access.log.lock().clear();
        cx.reply.ok();
        return Ok(());
    }
    let count = if cx.args.len() == 3 { cx.int(2)? } else { ENTRIES_DEFAULT };
    let entries: Vec<_> =
        cx.global().access.log.lock().iter().take(usize::try_from(count).unwrap_or(0)).cloned().collect();
    let now = cx.db.now.0;
    let reply = &mut *cx.reply;
    reply.array(entries.len());
    for entry in entries {
        reply.map(10);
        reply.bulk("count");
        reply.count(entry.count as usize);
        reply.bulk("reason");
        reply.bulk(entry.incident.reason.name());
        reply.bulk("context");
        reply.bulk(entry.incident.context.name());
        reply.bulk("object");
        reply.bulk(&entry.incident.object);
        reply.bulk("username");
        reply.bulk(&entry.incident.username);
        reply.bulk("age-seconds");
        reply.double((now - entry.updated_ms).max(0) as f64 / 1000.0);
        reply.bulk("client-info");
        reply.bulk(&entry.incident.client_info);
        reply.bulk("entry-id");
        reply.int(entry.id as i64);
        reply.bulk("timestamp-created");
        reply.int(entry.created_ms);
        reply.bulk("timestamp-last-updated");
        reply.int(entry.updated_ms);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn what_was_refused_and_how_often() {
        let mut rig = Rig::new();
        rig.script(&[
            ("ACL LOG", "*0"),
            ("ACL LOG x", "-ERR value is not an integer or out of range"),
            ("ACL LOG RESET 1", "-ERR unknown subcommand or wrong number of arguments for 'LOG'. Try ACL HELP."),
            ("ACL SETUSER u on >x ~a &c +@all -keys", "+OK"),
        ]);
        const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
        rig.client(2).script(&[
            ("AUTH u wrong", WRONG),
            ("auth u wrong", WRONG),
            ("AUTH u x", "+OK"),
            ("KEYS *", "-NOPERM User u has no permissions to run the 'keys' command"),
            ("GET b", "-NOPERM No permissions to access a key"),
            ("GET b", "-NOPERM No permissions to access a key"),
            ("PUBLISH d x", "-NOPERM No permissions to access a channel"),
            ("MULTI", "+OK"),
            ("GET b", "-NOPERM No permissions to access a key"),
        ]);
        rig.now.0 += 1500;
        rig.client(1);
        let shown = |text: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            let after = |name: &str| words[words.iter().position(|word| *word == name).unwrap() + 2];
            let count = words[words.iter().position(|word| *word == "count").unwrap() + 1];
            format!("{count} {} {} {}", after("reason"), after("context"), after("object"))
        };
        let reply = rig.run("ACL LOG");
        let entries: Vec<String> = reply.split("*20 ").skip(1).map(shown).collect();
        assert_eq!(
            entries,
            [
                ":1 key multi b",
                ":1 channel toplevel d",
                ":2 key toplevel b",
                ":1 command toplevel keys",
                ":1 auth toplevel auth",
                ":1 auth toplevel AUTH"
            ]
        );
        let last = reply.split("*20 ").nth(1).unwrap();
        assert!(last.contains(" $8 username $1 u $11 age-seconds $3 1.5 $11 client-info $"), "{last}");
        assert!(last.contains(" cmd=get user=u ") && last.contains(" $8 entry-id :5 "), "{last}");
        let stats = rig.host.stats[0].clone();
        assert_eq!((stats.acl_denied_auth.get(), stats.acl_denied_command.get()), (2, 1));
        assert_eq!((stats.acl_denied_key.get(), stats.acl_denied_channel.get()), (3, 1));
        assert!(rig.run("ACL LOG 1").starts_with("*1 "));
        let first = reply.split("*20 ").nth(6).unwrap();
        assert!(first.contains(" cmd=auth user=default "), "{first}");
        rig.script(&[("ACL LOG -1", "*0"), ("ACL LOG RESET", "+OK"), ("ACL LOG", "*0")]);
        rig.script(&[("CONFIG SET acllog-max-len 0", "+OK"), ("AUTH u wrong", WRONG), ("ACL LOG", "*0")]);
    }
}
