//! `CONFIG` and its subcommands.

use config::{LogLevel, SetError, directives};

use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "config",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "2.0.0",
    summary: "Groups the commands about the configuration.",
    complexity: "Depends on the subcommand.",
    subcommands: &[GET, HELP, RESETSTAT, REWRITE, SET],
    ..Spec::NEW
};

pub const GET: Spec = Spec {
    name: "get",
    arity: -3,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "2.0.0",
    summary: "Returns the directives that match patterns, with their values.",
    complexity: "O(N), N being the number of patterns",
    history: &[("7.0.0", "More than one pattern.")],
    args: &[Arg::string("parameter").multiple()],
    run: Some(get),
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "5.0.0",
    summary: "Describes the subcommands of CONFIG.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const RESETSTAT: Spec = Spec {
    name: "resetstat",
    arity: 2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "2.0.0",
    summary: "Puts the counters of INFO back to zero.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    side: Side::Wide,
    run: Some(resetstat),
    ..Spec::NEW
};

pub const REWRITE: Spec = Spec {
    name: "rewrite",
    arity: 2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "2.8.0",
    summary: "Writes the running configuration into its file.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    side: Side::Wide,
    run: Some(rewrite),
    ..Spec::NEW
};

pub const SET: Spec = Spec {
    name: "set",
    arity: -4,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "2.0.0",
    summary: "Changes directives of the running server, all or none.",
    complexity: "O(N), N being the number of directives",
    history: &[("7.0.0", "More than one directive.")],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg::block("data", &[Arg::string("parameter"), Arg::string("value")]).multiple()],
    is_secret: Some(is_secret),
    side: Side::Wide,
    run: Some(set),
    ..Spec::NEW
};

/// The values of passwords.
fn is_secret(args: &[&[u8]], index: usize) -> bool {
    let of_secret = |name: &[u8]| config::directives::find(name).is_some_and(|id| id.directive().secret);
    index >= 3 && index % 2 == 1 && of_secret(args[index - 1])
}

fn get(cx: &mut Ctx<'_>) -> Outcome {
    let found = cx.global().config.matching(&cx.args[2..]);
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(name);
        cx.reply.bulk(value);
    }
    Ok(())
}

fn set(cx: &mut Ctx<'_>) -> Outcome {
    if !cx.args.len().is_multiple_of(2) {
        return Err(Error::Syntax.into());
    }
    let pairs: Vec<_> = cx.args[2..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let client = if cx.session.is_local { config::Client::Local } else { config::Client::Remote };
    let host = cx.host;
    let global = cx.global_mut()?;
    let refused = |error: SetError| Stop::Error(Error::Bytes(error.message()));
    let changes = global.config.prepare_set(&pairs, client).map_err(refused)?;
    global.config.apply(&changes);
    if let Err(error) = host.apply_config(global, &changes) {
        // All or nothing: what had taken effect already takes its old value again.
        global.config.revert(&changes);
        if let Err(again) = host.apply_config(global, &changes) {
            host.log(LogLevel::Warning, &format!("Could not go back to the configuration before CONFIG SET: {again}"));
        }
        return Err(refused(error));
    }
    if changes.alters(directives::REQUIREPASS) {
        let password = global.config.get(directives::REQUIREPASS).to_vec();
        global.access.set_default_password(&password);
        host.wake_all();
    }
    cx.reply.ok();
    Ok(())
}

fn rewrite(cx: &mut Ctx<'_>) -> Outcome {
    if cx.global().config.file().is_none() {
        return cx.fail("ERR The server is running without a config file");
    }
    let global = cx.global_mut()?;
    // Where there is an ACL file, users belong there.
    let says_users = global.config.path(directives::ACLFILE).is_none()
        && (!global.config.get(directives::USER).is_empty() || !global.access.is_said_by_requirepass(&global.config));
    let users = if says_users { global.access.directives() } else { Vec::new() };
    global.config.set_users(users);
    match config::rewrite::rewrite_file(&global.config) {
        Ok(()) => {
            cx.host.log(LogLevel::Notice, "CONFIG REWRITE executed with success.");
            cx.reply.ok();
            Ok(())
        }
        Err(error) => {
            cx.host.log(LogLevel::Warning, &format!("CONFIG REWRITE failed: {error}"));
            Err(Stop::Error(Error::string(format!("ERR Rewriting config file: {error}"))))
        }
    }
}

fn resetstat(cx: &mut Ctx<'_>) -> Outcome {
    cx.host.reset_stats();
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn get_and_set() {
        script(&[
            ("CONFIG GET port", "*2 $4 port $4 6379"),
            ("CONFIG GET nosuch", "*0"),
            ("CONFIG SET timeout 10 maxclients 100", "+OK"),
            ("CONFIG GET timeout maxclients", "*4 $7 timeout $2 10 $10 maxclients $3 100"),
            ("CONFIG SET timeout 20 nosuch 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
            ("CONFIG GET timeout", "*2 $7 timeout $2 10"),
            ("CONFIG SET timeout", "-ERR wrong number of arguments for 'config|set' command"),
            ("CONFIG SET a b c", "-ERR syntax error"),
            ("CONFIG REWRITE", "-ERR The server is running without a config file"),
            ("CONFIG RESETSTAT", "+OK"),
        ]);
    }
}
