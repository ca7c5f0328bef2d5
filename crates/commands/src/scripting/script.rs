//! `SCRIPT`.

use scripting::{Lifetime, Script};

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "script",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Scripting,
    since: "2.6.0",
    summary: "What concerns the scripts that the server knows.",
    complexity: "That of the subcommand",
    subcommands: &[DEBUG, EXISTS, FLUSH, HELP, KILL, LOAD, SHOW],
    ..Spec::NEW
};

/// What its subcommands have in common.
const SUB: Spec = Spec {
    flags: Flags::NOSCRIPT,
    acl: Acl::SLOW.union(Acl::SCRIPTING),
    group: Group::Scripting,
    since: "2.6.0",
    ..Spec::NEW
};

const DEBUG: Spec = Spec {
    name: "debug",
    arity: 3,
    since: "3.2.0",
    summary: "Says whether scripts of this connection are run by the debugger, which this server does not have.",
    args: &[Arg::one_of("mode", &[Arg::word("yes", "YES"), Arg::word("sync", "SYNC"), Arg::word("no", "NO")])],
    run: Some(debug),
    ..SUB
};

const EXISTS: Spec = Spec {
    name: "exists",
    arity: -3,
    summary: "Tells of each digest whether its script is known.",
    complexity: "O(N), N being the number of digests",
    tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
    args: &[Arg::string("sha1").multiple()],
    run: Some(exists),
    ..SUB
};

const FLUSH: Spec = Spec {
    name: "flush",
    arity: -2,
    summary: "Forgets all scripts.",
    complexity: "O(N), N being the number of scripts",
    history: &[("6.2.0", "Options `ASYNC` and `SYNC`.")],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg::one_of("flush-type", &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")])
        .since("6.2.0")
        .optional()],
    side: Side::Wide,
    run: Some(flush),
    ..SUB
};

const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    since: "5.0.0",
    summary: "Lists the subcommands of SCRIPT.",
    run: Some(help::run),
    ..SUB
};

const KILL: Spec = Spec {
    name: "kill",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
    summary: "Ends the script in execution, if it has written nothing.",
    tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
    run: Some(kill),
    ..SUB
};

const LOAD: Spec = Spec {
    name: "load",
    arity: 3,
    flags: Flags::NOSCRIPT.union(Flags::STALE),
    summary: "Keeps a script for EVALSHA and returns its SHA-1 digest.",
    complexity: "O(N), N being the length of the script",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    args: &[Arg::string("script")],
    side: Side::Wide,
    run: Some(load),
    ..SUB
};

/// Valkey's.
const SHOW: Spec = Spec {
    name: "show",
    arity: 3,
    flags: Flags::NOSCRIPT.union(Flags::STALE),
    since: "8.0.0",
    summary: "Returns the text of the script with this digest.",
    args: &[Arg::string("sha1")],
    side: Side::Wide,
    run: Some(show),
    ..SUB
};

fn debug(cx: &mut Ctx<'_>) -> Outcome {
    if cx.word(2, "NO") {
        cx.reply.ok();
        return Ok(());
    }
    if cx.word(2, "YES") || cx.word(2, "SYNC") {
        return cx.fail("ERR this server has no debugger for scripts");
    }
    cx.fail("ERR Use SCRIPT DEBUG YES/SYNC/NO")
}

fn exists(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.array(cx.args.len() - 2);
    for name in &cx.args[2..] {
        let known = cx.global().scripts.cache.contains(name);
        cx.reply.int(known.into());
    }
    Ok(())
}

fn flush(cx: &mut Ctx<'_>) -> Outcome {
    match cx.args.len() {
        2 => {}
        3 if cx.word(2, "SYNC") || cx.word(2, "ASYNC") => {}
        _ => return cx.fail("ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
    }
    cx.global_mut()?.scripts.clear();
    cx.reply.ok();
    Ok(())
}

fn kill(cx: &mut Ctx<'_>) -> Outcome {
    cx.global_mut()?.scripts.kill(false)?;
    cx.reply.ok();
    Ok(())
}

fn load(cx: &mut Ctx<'_>) -> Outcome {
    let script = Script::parse(cx.args[2]).map_err(Error::Bytes)?;
    cx.global_mut()?.scripts.add(&script, Lifetime::Loaded)?;
    cx.reply.bulk(script.sha1);
    Ok(())
}

fn show(cx: &mut Ctx<'_>) -> Outcome {
    let name = cx.args[2];
    match cx.global_mut()?.scripts.cache.get(name).map(|script| script.text.clone()) {
        Some(text) => cx.reply.bulk(text),
        None => return cx.fail("NOSCRIPT No matching script. Please use EVAL."),
    }
    Ok(())
}
