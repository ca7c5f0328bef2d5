//! `COMMAND LIST`.

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::registry::Command;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "list",
    arity: -2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Server,
    since: "7.0.0",
    summary: "Lists the names of the commands, or of some of them.",
    complexity: "O(N), N being the number of commands",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::one_of(
        "filterby",
        &[
            Arg::string("module-name").token("MODULE"),
            Arg::string("category").token("ACLCAT"),
            Arg::pattern("pattern").token("PATTERN"),
        ],
    )
    .token("FILTERBY")
    .optional()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let registry = cx.global().registry.clone();
    let all = registry.callable().flat_map(|command| {
        let subcommands = registry.all().iter().filter(|sub| sub.parent == Some(command.id));
        std::iter::once(command).chain(subcommands)
    });
    let found: Vec<&Command> = match cx.args.len() {
        2 => all.collect(),
        5 if cx.word(2, "FILTERBY") => {
            let pattern = cx.args[4];
            if cx.word(3, "MODULE") {
                // There are no modules, so none has commands.
                Vec::new()
            } else if cx.word(3, "ACLCAT") {
                let wanted = Acl::NAMES.iter().find(|(_, name)| pattern.eq_ignore_ascii_case(name.as_bytes()));
                match wanted {
                    Some((acl, _)) => all.filter(|command| command.spec.acl.contains(*acl)).collect(),
                    None => Vec::new(),
                }
            } else if cx.word(3, "PATTERN") {
                all.filter(|command| config::glob_match(pattern, command.full_name.as_bytes(), true)).collect()
            } else {
                return Err(Error::Syntax.into());
            }
        }
        _ => return Err(Error::Syntax.into()),
    };
    cx.reply.array(found.len());
    found.iter().for_each(|command| cx.reply.bulk(&command.full_name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn filters() {
        script(&[
            ("COMMAND LIST FILTERBY PATTERN mge*", "*1 $4 mget"),
            ("COMMAND LIST FILTERBY PATTERN config|se*", "*1 $10 config|set"),
            ("COMMAND LIST FILTERBY MODULE x", "*0"),
            ("COMMAND LIST FILTERBY ACLCAT nosuch", "*0"),
            ("COMMAND LIST FILTERBY nosuch x", "-ERR syntax error"),
            ("COMMAND LIST FILTERBY PATTERN", "-ERR syntax error"),
            ("COMMAND LIST x", "-ERR syntax error"),
        ]);
    }
}
