//! `EVAL`, `EVAL_RO`, `EVALSHA` and `EVALSHA_RO`.

use scripting::{Program, Script};

use crate::context::{Ctx, Outcome, Room};
use crate::error::Stop;
use crate::global::Global;
use crate::registry::Command;
use crate::replication;
use crate::scripting::ScriptCall;
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Side, Spec};

pub(super) const READ_WRITE: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);
pub(super) const READ_ONLY: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

pub(super) const fn keys(flags: KeyFlags) -> KeySpec {
    KeySpec {
        notes: None,
        flags,
        begin: Begin::Index(2),
        find: Find::KeyNum { keynum_index: 0, first_key: 1, step: 1 },
    }
}

pub(super) const NUMKEYS: Arg = Arg::integer("numkeys");
pub(super) const KEY: Arg = Arg::key("key", 0).optional().multiple();
pub(super) const ARG: Arg = Arg::string("arg").optional().multiple();

pub(super) const FLAGS: Flags =
    Flags::NOSCRIPT.union(Flags::STALE).union(Flags::SKIP_MONITOR).union(Flags::NO_MANDATORY_KEYS);

pub const EVAL: Spec = Spec {
    name: "eval",
    arity: -3,
    flags: FLAGS.union(Flags::MAY_REPLICATE),
    acl: Acl::SLOW.union(Acl::SCRIPTING),
    keys: &[keys(READ_WRITE).notes("What a script does to its keys is not known before it runs: anything")],
    group: Group::Scripting,
    since: "2.6.0",
    summary: "Runs a script in Lua, with nothing in between.",
    complexity: "That of the script",
    args: &[Arg::string("script"), NUMKEYS, KEY, ARG],
    side: Side::Wide,
    run: Some(eval),
    ..Spec::NEW
};

pub const EVAL_RO: Spec = Spec {
    name: "eval_ro",
    flags: FLAGS.union(Flags::READONLY),
    keys: &[keys(READ_ONLY).notes("What a script does to its keys is not known before it runs: any reading")],
    since: "7.0.0",
    summary: "Runs a script in Lua that may only read.",
    ..EVAL
};

pub const EVALSHA: Spec = Spec {
    name: "evalsha",
    keys: &[keys(READ_WRITE)],
    summary: "Runs a script that the server knows, by its SHA-1 digest.",
    args: &[Arg::string("sha1"), NUMKEYS, KEY, ARG],
    run: Some(evalsha),
    ..EVAL
};

pub const EVALSHA_RO: Spec = Spec {
    name: "evalsha_ro",
    flags: FLAGS.union(Flags::READONLY),
    keys: &[keys(READ_ONLY)],
    since: "7.0.0",
    summary: "Runs a script that the server knows, by its SHA-1 digest; it may only read.",
    ..EVALSHA
};

fn eval(cx: &mut Ctx<'_>) -> Outcome {
    let numkeys = numkeys(cx)?;
    let text = cx.args[1];
    let script = cx.global_mut()?.scripts.of_text(text)?;
    start(cx, Program::Script(script), numkeys)
}

fn evalsha(cx: &mut Ctx<'_>) -> Outcome {
    const UNKNOWN: &str = "NOSCRIPT No matching script. Please use EVAL.";
    // What cannot be a digest is no script, whatever stands behind it.
    if cx.args[1].len() != 40 {
        return cx.fail(UNKNOWN);
    }
    let numkeys = numkeys(cx)?;
    let name = cx.args[1];
    match cx.global_mut()?.scripts.cache.get(name).cloned() {
        Some(script) => start(cx, Program::Script(script), numkeys),
        None => cx.fail(UNKNOWN),
    }
}

fn numkeys(cx: &Ctx<'_>) -> Result<usize, Stop> {
    keys_among_args(cx, cx.int(2)?)
}

/// So many of the arguments behind their number are keys.
pub(super) fn keys_among_args(cx: &Ctx<'_>, count: i64) -> Result<usize, Stop> {
    if count > cx.args.len() as i64 - 3 {
        return cx.fail("ERR Number of keys can't be greater than number of args");
    }
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => cx.fail("ERR Number of keys can't be negative"),
    }
}

/// Hands the program to the dispatcher, unless it is refused for what it declares.
pub(super) fn start(cx: &mut Ctx<'_>, program: Program, numkeys: usize) -> Outcome {
    let called_to_read = cx.command.spec.flags.contains(Flags::READONLY);
    let declares = program.flags();
    if called_to_read && declares.is_some_and(|flags| !flags.no_writes) {
        return cx.fail("ERR Can not execute a script with write flag using *_ro command.");
    }
    if declares.is_none() && replication::is_stale(cx) {
        return Err(replication::stale().into());
    }
    let read_only = called_to_read || declares.is_some_and(|flags| flags.no_writes);
    let allows_oom = declares.is_some_and(|flags| flags.allow_oom);
    let out_of_memory = !allows_oom && cx.host.room(cx.global()) == Room::Out;
    Err(Stop::Script(Box::new(ScriptCall { program, key_count: numkeys, read_only, out_of_memory })))
}

/// Whether a call of this script or function is refused where memory is full: by what it declares.
pub fn denies_oom(global: &Global, command: &Command, args: &[&[u8]]) -> bool {
    let parsed;
    let flags = match command.spec.name {
        "eval" | "eval_ro" if args[1].starts_with(b"#!") => {
            parsed = Script::parse(args[1]);
            parsed.as_ref().ok().and_then(|script| script.flags)
        }
        "evalsha" | "evalsha_ro" => global.scripts.cache.peek(args[1]).and_then(|script| script.flags),
        "fcall" | "fcall_ro" => global.scripts.functions.find(args[1]).map(|function| function.flags),
        _ => None,
    };
    flags.is_some_and(|flags| flags.denies_oom())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
