//! `COMMAND DOCS`.

use resp::{Mark, Reply};

use crate::context::{Ctx, Outcome};
use crate::registry::{Command, Registry};
use crate::spec::{Acl, Arg, ArgType, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "docs",
    arity: -2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Server,
    since: "7.0.0",
    summary: "Returns the documentation of commands.",
    complexity: "O(N), N being the number of commands asked for",
    tips: &["nondeterministic_output_order"],
    args: &[Arg::string("command-name").optional().multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let registry = cx.global().registry.clone();
    let found: Vec<&Command> = if cx.args.len() == 2 {
        registry.callable().collect()
    } else {
        cx.args[2..].iter().filter_map(|name| registry.find_full(name)).collect()
    };
    cx.reply.map(found.len());
    for command in found {
        cx.reply.bulk(&command.full_name);
        document(cx.reply, &registry, command);
    }
    Ok(())
}

/// The entries of a map whose length is known only when all are there.
struct Map {
    start: Mark,
    pairs: usize,
}

impl Map {
    fn begin(reply: &mut Reply) -> Map {
        Map { start: reply.start_deferred(), pairs: 0 }
    }

    fn name(&mut self, reply: &mut Reply, name: &str) {
        reply.bulk(name);
        self.pairs += 1;
    }

    fn text(&mut self, reply: &mut Reply, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.name(reply, name);
            reply.bulk(value);
        }
    }

    fn flags(&mut self, reply: &mut Reply, name: &str, flags: &[&str]) {
        if !flags.is_empty() {
            self.name(reply, name);
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
    }

    fn end(self, reply: &mut Reply) {
        reply.finish_map(self.start, self.pairs);
    }
}

fn document(reply: &mut Reply, registry: &Registry, command: &Command) {
    let spec = command.spec;
    let mut map = Map::begin(reply);
    map.text(reply, "summary", Some(spec.summary));
    map.text(reply, "since", Some(spec.since));
    map.text(reply, "group", Some(spec.group.name()));
    map.text(reply, "complexity", Some(spec.complexity));
    map.flags(reply, "doc_flags", spec.doc_flags);
    map.text(reply, "deprecated_since", spec.deprecated_since);
    map.text(reply, "replaced_by", spec.replaced_by);
    if !spec.history.is_empty() {
        map.name(reply, "history");
        reply.set(spec.history.len());
        for (version, change) in spec.history {
            reply.array(2);
            reply.bulk(version);
            reply.bulk(change);
        }
    }
    if !spec.args.is_empty() {
        map.name(reply, "arguments");
        arguments(reply, spec.args);
    }
    let subcommands: Vec<_> = registry.all().iter().filter(|sub| sub.parent == Some(command.id)).collect();
    if !subcommands.is_empty() {
        map.name(reply, "subcommands");
        reply.map(subcommands.len());
        for sub in subcommands {
            reply.bulk(&sub.full_name);
            document(reply, registry, sub);
        }
    }
    map.end(reply);
}

fn arguments(reply: &mut Reply, args: &[Arg]) {
    reply.array(args.len());
    for arg in args {
        let mut map = Map::begin(reply);
        map.text(reply, "name", Some(arg.name));
        map.text(reply, "type", Some(arg.kind.name()));
        if !matches!(arg.kind, ArgType::OneOf | ArgType::Block) {
            map.text(reply, "display_text", Some(arg.display.unwrap_or(arg.name)));
        }
        if let Some(index) = arg.key_spec_index {
            map.name(reply, "key_spec_index");
            reply.int(i64::from(index));
        }
        map.text(reply, "token", arg.token);
        map.text(reply, "summary", arg.summary);
        map.text(reply, "since", arg.since);
        map.text(reply, "deprecated_since", arg.deprecated_since);
        let flags = [("optional", arg.optional), ("multiple", arg.multiple), ("multiple_token", arg.multiple_token)];
        let flags: Vec<&str> = flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        map.flags(reply, "flags", &flags);
        if !arg.args.is_empty() {
            map.name(reply, "arguments");
            arguments(reply, arg.args);
        }
        map.end(reply);
    }
}

#[cfg(test)]
mod tests {
    use crate::registry::GROUPS;
    use crate::spec::Spec;
    use crate::testing::script;

    #[test]
    fn documents_what_exists() {
        script(&[
            ("COMMAND DOCS nosuch", "*0"),
            (
                "COMMAND DOCS quit",
                "*2 $4 quit *14 $7 summary $36 Replies, then closes the connection. $5 since $5 1.0.0 $5 group $10 connection \
                 $10 complexity $4 O(1) $9 doc_flags *1 +deprecated $16 deprecated_since $5 7.2.0 $11 replaced_by \
                 $27 just closing the connection",
            ),
        ]);
    }

    #[test]
    fn every_command_is_documented() {
        fn check(spec: &Spec) {
            assert!(!spec.summary.is_empty(), "{} has no summary", spec.name);
            assert!(!spec.complexity.is_empty(), "{} has no complexity", spec.name);
            spec.subcommands.iter().for_each(check);
        }
        GROUPS.iter().copied().flatten().for_each(|spec| check(spec));
    }
}
