//! `ACL CAT`.

use crate::access;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::registry::Command;
use crate::spec::{self, Acl, Arg, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "cat",
    arity: -2,
    flags: super::ANY_FLAGS,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "6.0.0",
    summary: "Lists the categories of commands, or the commands of one.",
    complexity: "O(1), as there is a fixed number of commands",
    args: &[Arg::string("category").optional()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    super::check_arguments_max(cx, 3)?;
    let Some(name) = cx.args.get(2) else {
        cx.reply.array(spec::Acl::NAMES.len());
        spec::Acl::NAMES.iter().for_each(|(_, name)| cx.reply.bulk(name));
        return Ok(());
    };
    let category = access::category(name).ok_or_else(|| Error::quoting("ERR Unknown category '", name, "'"))?;
    let registry = cx.global().registry.clone();
    // What is nothing but its subcommands cannot be called, so its own categories say nothing.
    let is_member = |command: &&Command| command.spec.acl.contains(category) && !command.is_container();
    let members: Vec<&Command> = registry.all().iter().filter(is_member).collect();
    cx.reply.array(members.len());
    members.iter().for_each(|command| cx.reply.bulk(&command.full_name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn categories_and_their_members() {
        script(&[
            ("ACL CAT nosuch", "-ERR Unknown category 'nosuch'"),
            ("ACL cat read write", "-ERR unknown subcommand or wrong number of arguments for 'cat'. Try ACL HELP."),
            ("ACL CAT TRANSACTION", "*5 $4 exec $7 discard $5 multi $7 unwatch $5 watch"),
        ]);
        let mut rig = Rig::new();
        assert!(rig.run("ACL CAT").starts_with("*21 $8 keyspace $4 read $5 write "));
        assert!(rig.run("ACL CAT dangerous").contains(" $10 config|set "));
    }
}
