//! `COMMAND GETKEYS` and `COMMAND GETKEYSANDFLAGS`.

use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::keys::{self, KeyAt, KeyPlan};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, Spec};

pub const GETKEYS: Spec = Spec {
    name: "getkeys",
    arity: -3,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Server,
    since: "2.8.13",
    summary: "Picks the keys out of a whole command.",
    complexity: "O(N), N being the number of arguments",
    args: &[Arg::string("command"), Arg::string("arg").optional().multiple()],
    run: Some(getkeys),
    ..Spec::NEW
};

pub const GETKEYSANDFLAGS: Spec = Spec {
    name: "getkeysandflags",
    arity: -3,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Server,
    since: "7.0.0",
    summary: "Picks the keys out of a whole command, with what happens to each.",
    complexity: "O(N), N being the number of arguments",
    args: &[Arg::string("command"), Arg::string("arg").optional().multiple()],
    run: Some(getkeysandflags),
    ..Spec::NEW
};

/// The keys of the command that the arguments spell.
fn find(cx: &Ctx<'_>) -> Result<Vec<KeyAt>, Stop> {
    let words = &cx.args[2..];
    let command = match cx.global().registry.resolve(words) {
        Ok(command) => command,
        Err(Error::Arity(name)) => {
            // Redis looks at the keys before it looks at the number of arguments.
            let keyless =
                cx.global().registry.find_full(name.as_bytes()).is_some_and(|command| command.plan == KeyPlan::None);
            return cx.fail(if keyless {
                "ERR The command has no key arguments"
            } else {
                "ERR Invalid number of arguments specified for command"
            });
        }
        Err(_) => return cx.fail("ERR Invalid command specified"),
    };
    // It may also have names that are no keys: channels.
    if command.plan == KeyPlan::None {
        return cx.fail("ERR The command has no key arguments");
    }
    match keys::find(command.spec, words) {
        Some(found) if !found.is_empty() => Ok(found),
        // Scripts may do without keys. Redis takes a number of keys that is wrong for none here; the call itself refuses it.
        _ if command.spec.flags.contains(Flags::NO_MANDATORY_KEYS) => Ok(Vec::new()),
        _ => cx.fail("ERR Invalid arguments specified for command"),
    }
}

fn getkeys(cx: &mut Ctx<'_>) -> Outcome {
    let found = find(cx)?;
    cx.reply.array(found.len());
    found.iter().for_each(|key| cx.reply.bulk(cx.args[2 + key.index]));
    Ok(())
}

fn getkeysandflags(cx: &mut Ctx<'_>) -> Outcome {
    let found = find(cx)?;
    cx.reply.array(found.len());
    for key in found {
        cx.reply.array(2);
        cx.reply.bulk(cx.args[2 + key.index]);
        let flags: Vec<&str> =
            KeyFlags::NAMES.iter().filter(|(flag, _)| key.flags.contains(*flag)).map(|(_, name)| *name).collect();
        cx.reply.set(flags.len());
        flags.iter().for_each(|flag| cx.reply.simple(flag));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn keys_and_flags() {
        script(&[
            ("COMMAND GETKEYS mset a 1 b 2", "*2 $1 a $1 b"),
            ("COMMAND GETKEYS get a b", "-ERR Invalid number of arguments specified for command"),
            ("COMMAND GETKEYS spublish a b", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS ping", "-ERR The command has no key arguments"),
            ("COMMAND GETKEYS eval script 1 k", "*1 $1 k"),
            ("COMMAND GETKEYS eval script 0 argument", "*0"),
            ("COMMAND GETKEYSANDFLAGS eval_ro script 0", "*0"),
            ("COMMAND GETKEYS evalsha script 5 k", "*0"),
            ("COMMAND GETKEYS zunion 0 k", "-ERR Invalid arguments specified for command"),
            ("COMMAND GETKEYS nosuch", "-ERR Invalid command specified"),
            ("COMMAND GETKEYS object encoding k", "*1 $1 k"),
            ("COMMAND GETKEYSANDFLAGS set k v EX 1", "*1 *2 $1 k *2 +OW +update"),
            ("COMMAND GETKEYSANDFLAGS set k v get", "*1 *2 $1 k *3 +RW +access +update"),
            ("COMMAND GETKEYSANDFLAGS msetnx a b c d", "*2 *2 $1 a *2 +OW +insert *2 $1 c *2 +OW +insert"),
        ]);
    }
}
