//! `MEMORY` and its subcommands.

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "memory",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "4.0.0",
    summary: "Groups the commands about memory.",
    complexity: "Depends on the subcommand.",
    subcommands: &[HELP, USAGE],
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "4.0.0",
    summary: "Describes the subcommands of MEMORY.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const USAGE: Spec = Spec {
    name: "usage",
    arity: -3,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO, 2)],
    group: Group::Server,
    since: "4.0.0",
    summary: "Estimates how much memory a key and its value take.",
    complexity: "O(N), N being the number of samples",
    args: &[Arg::key("key", 0), Arg::integer("count").token("SAMPLES").optional()],
    run: Some(usage),
    ..Spec::NEW
};

/// Elements of a collection that are looked at unless SAMPLES says otherwise.
const SAMPLES: usize = 5;

fn usage(cx: &mut Ctx<'_>) -> Outcome {
    let mut samples = SAMPLES;
    let mut index = 3;
    while index < cx.args.len() {
        if !cx.word(index, "SAMPLES") || index + 1 >= cx.args.len() {
            return Err(Error::Syntax.into());
        }
        samples = usize::try_from(cx.int(index + 1)?).map_err(|_| Error::Syntax)?;
        index += 2;
    }
    // Memory is used whether or not the key's time is past: this looks at what is there, and removes nothing.
    match cx.db.space.get(cx.db.index, cx.keys[0]) {
        None => cx.reply.null(),
        Some(entry) => cx.reply.int(entry.memory_usage(samples) as i64),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn usage_and_its_options() {
        script(&[
            ("MEMORY USAGE nosuch", "$-1"),
            ("MEMORY USAGE a SAMPLES", "-ERR syntax error"),
            ("MEMORY USAGE a SAMPLES -1", "-ERR syntax error"),
            ("MEMORY USAGE a SAMPLES x", "-ERR value is not an integer or out of range"),
            ("MEMORY USAGE a FOO 1", "-ERR syntax error"),
        ]);
        let mut rig = Rig::new();
        rig.run("SET key 0123456789012345678901234567890123456789");
        let bytes: usize = rig.run("MEMORY USAGE key SAMPLES 0").strip_prefix(':').unwrap().parse().unwrap();
        assert!((43..=80).contains(&bytes), "{bytes}");
    }
}
