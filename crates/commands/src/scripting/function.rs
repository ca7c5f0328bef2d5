//! `FUNCTION`.

use config::{directives, glob_match};
use scripting::Policy;

use super::VERSION;
use crate::context::{Ctx, Host, Outcome};
use crate::error::{Error, Stop};
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "function",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Scripting,
    since: "7.0.0",
    summary: "What concerns libraries of functions.",
    complexity: "That of the subcommand",
    subcommands: &[DELETE, DUMP, FLUSH, HELP, KILL, LIST, LOAD, RESTORE, STATS],
    ..Spec::NEW
};

/// What its subcommands have in common.
const SUB: Spec = Spec {
    flags: Flags::NOSCRIPT,
    acl: Acl::SLOW.union(Acl::SCRIPTING),
    group: Group::Scripting,
    since: "7.0.0",
    side: Side::Wide,
    ..Spec::NEW
};

/// What those have in common that change anything. As an effect they are themselves.
const CHANGE: Spec = Spec {
    flags: Flags::NOSCRIPT.union(Flags::WRITE),
    acl: Acl::SLOW.union(Acl::SCRIPTING).union(Acl::WRITE),
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    ..SUB
};

const DELETE: Spec = Spec {
    name: "delete",
    arity: 3,
    summary: "Removes a library with all its functions.",
    complexity: "O(1)",
    args: &[Arg::string("library-name")],
    run: Some(delete),
    ..CHANGE
};

const DUMP: Spec = Spec {
    name: "dump",
    arity: 2,
    summary: "Returns all libraries in the form that FUNCTION RESTORE takes.",
    complexity: "O(N), N being the number of functions",
    run: Some(dump),
    ..SUB
};

const FLUSH: Spec = Spec {
    name: "flush",
    arity: -2,
    summary: "Removes all libraries.",
    complexity: "O(N), N being the number of functions",
    args: &[Arg::one_of("flush-type", &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")]).optional()],
    run: Some(flush),
    ..CHANGE
};

const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    summary: "Lists the subcommands of FUNCTION.",
    complexity: "O(1)",
    side: Side::Narrow,
    run: Some(help::run),
    ..SUB
};

const KILL: Spec = Spec {
    name: "kill",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
    summary: "Ends the function in execution, if it has written nothing.",
    complexity: "O(1)",
    tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
    run: Some(kill),
    ..SUB
};

const LIST: Spec = Spec {
    name: "list",
    arity: -2,
    summary: "Describes the libraries.",
    complexity: "O(N), N being the number of functions",
    tips: &["nondeterministic_output_order"],
    args: &[
        Arg::string("library-name-pattern").token("LIBRARYNAME").optional(),
        Arg::word("withcode", "WITHCODE").optional(),
    ],
    run: Some(list),
    ..SUB
};

const LOAD: Spec = Spec {
    name: "load",
    arity: -3,
    flags: CHANGE.flags.union(Flags::DENYOOM),
    summary: "Adds a library.",
    complexity: "O(1), besides what compiling its text takes",
    args: &[Arg::word("replace", "REPLACE").optional(), Arg::string("function-code")],
    run: Some(load),
    ..CHANGE
};

const RESTORE: Spec = Spec {
    name: "restore",
    arity: -3,
    flags: CHANGE.flags.union(Flags::DENYOOM),
    summary: "Adds the libraries of a payload that FUNCTION DUMP has made.",
    complexity: "O(N), N being the number of functions in the payload",
    args: &[
        Arg::string("serialized-value"),
        Arg::one_of(
            "policy",
            &[Arg::word("flush", "FLUSH"), Arg::word("append", "APPEND"), Arg::word("replace", "REPLACE")],
        )
        .optional(),
    ],
    run: Some(restore),
    ..CHANGE
};

const STATS: Spec = Spec {
    name: "stats",
    arity: 2,
    flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
    summary: "Says which function is in execution, and what the interpreter holds.",
    complexity: "O(1)",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: Some(stats),
    ..SUB
};

/// Takes the lines that a library has for the log while it is loaded.
fn log_to(host: &dyn Host) -> impl FnMut(u8, &str) {
    move |level, text| host.log(super::run::log_level(level), text)
}

fn load(cx: &mut Ctx<'_>) -> Outcome {
    let (options, code) = (&cx.args[2..cx.args.len() - 1], cx.args[cx.args.len() - 1]);
    let unknown = options.iter().find(|option| !option.eq_ignore_ascii_case(b"REPLACE"));
    if let Some(option) = unknown {
        return Err(Error::quoting("ERR Unknown option given: ", option, "").into());
    }
    let policy = if options.is_empty() { Policy::Append } else { Policy::Replace };
    let mut log = log_to(cx.host);
    let name = cx.global_mut()?.scripts.functions.load(code, policy, VERSION, &mut log).map_err(Error::Bytes)?;
    cx.db.changed(1);
    cx.reply.bulk(name.as_bytes());
    Ok(())
}

fn delete(cx: &mut Ctx<'_>) -> Outcome {
    let name = cx.args[2];
    if !cx.global_mut()?.scripts.functions.delete(name) {
        return cx.fail("ERR Library not found");
    }
    cx.db.changed(1);
    cx.reply.ok();
    Ok(())
}

fn wrong_arguments<T>(cx: &Ctx<'_>) -> Result<T, Stop> {
    let text = "ERR unknown subcommand or wrong number of arguments for '";
    Err(Error::quoting(text, cx.args[1], "'. Try FUNCTION HELP.").into())
}

fn flush(cx: &mut Ctx<'_>) -> Outcome {
    match cx.args.len() {
        2 => {}
        3 if cx.word(2, "SYNC") || cx.word(2, "ASYNC") => {}
        3 => return cx.fail("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        _ => return wrong_arguments(cx),
    }
    cx.global_mut()?.scripts.functions.clear();
    cx.db.changed(1);
    cx.reply.ok();
    Ok(())
}

fn dump(cx: &mut Ctx<'_>) -> Outcome {
    let compress = cx.global().config.get(directives::RDBCOMPRESSION);
    let payload =
        rdb::dump::dump_functions(cx.global().scripts.functions.libraries().map(|library| &*library.code), compress);
    cx.reply.bulk(payload);
    Ok(())
}

fn restore(cx: &mut Ctx<'_>) -> Outcome {
    let policy = match cx.args.len() {
        3 => Policy::Append,
        4 if cx.word(3, "APPEND") => Policy::Append,
        4 if cx.word(3, "REPLACE") => Policy::Replace,
        4 if cx.word(3, "FLUSH") => Policy::Flush,
        4 => return cx.fail("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."),
        _ => return wrong_arguments(cx),
    };
    let codes = match rdb::dump::restore_functions(cx.args[2]) {
        Ok(codes) => codes,
        Err(refusal) => return Err(Error::string(format!("ERR {refusal}")).into()),
    };
    let mut log = log_to(cx.host);
    cx.global_mut()?.scripts.functions.restore(&codes, policy, VERSION, &mut log).map_err(Error::Bytes)?;
    cx.db.changed(1);
    cx.reply.ok();
    Ok(())
}

fn list(cx: &mut Ctx<'_>) -> Outcome {
    let (mut pattern, mut with_code) = (None, false);
    let mut options = cx.args[2..].iter();
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"WITHCODE") && !with_code {
            with_code = true;
        } else if option.eq_ignore_ascii_case(b"LIBRARYNAME") && pattern.is_none() {
            pattern = options.next().copied();
            if pattern.is_none() {
                return cx.fail("ERR library name argument was not given");
            }
        } else {
            return Err(Error::quoting("ERR Unknown argument ", option, "").into());
        }
    }
    let matches = |name: &str| pattern.is_none_or(|pattern| glob_match(pattern, name.as_bytes(), true));
    let Ctx { reach, reply, .. } = cx;
    let libraries: Vec<_> = match reach {
        crate::Reach::Narrow(global) => global.scripts.functions.libraries(),
        crate::Reach::Wide(global) => global.scripts.functions.libraries(),
    }
    .filter(|library| matches(&library.name))
    .collect();
    reply.array(libraries.len());
    for library in libraries {
        reply.map(if with_code { 4 } else { 3 });
        reply.bulk("library_name");
        reply.bulk(&*library.name);
        reply.bulk("engine");
        reply.bulk("LUA");
        reply.bulk("functions");
        reply.array(library.functions.len());
        for function in &library.functions {
            reply.map(3);
            reply.bulk("name");
            reply.bulk(&*function.name);
            reply.bulk("description");
            match &function.description {
                Some(text) => reply.bulk(text),
                None => reply.null(),
            }
            reply.bulk("flags");
            reply.set(function.flags.names().count());
            function.flags.names().for_each(|flag| reply.simple(flag));
        }
        if with_code {
            reply.bulk("library_code");
            reply.bulk(&library.code);
        }
    }
    Ok(())
}

fn kill(cx: &mut Ctx<'_>) -> Outcome {
    cx.global_mut()?.scripts.kill(true)?;
    cx.reply.ok();
    Ok(())
}

fn stats(cx: &mut Ctx<'_>) -> Outcome {
    let scripts = match &cx.reach {
        crate::Reach::Narrow(global) => &global.scripts,
        crate::Reach::Wide(global) => &global.scripts,
    };
    if let Some(running) = &scripts.running
        && !running.is_function
    {
        return Err(running.busy().into());
    }
    let functions = &scripts.functions;
    let (libraries, functions) = (functions.libraries().len(), functions.function_count());
    cx.reply.map(2);
    cx.reply.bulk("running_script");
    match &scripts.running {
        None => cx.reply.null(),
        Some(running) => {
            cx.reply.map(3);
            cx.reply.bulk("name");
            cx.reply.bulk(&running.name);
            cx.reply.bulk("command");
            cx.reply.array(running.command.len());
            running.command.iter().for_each(|word| cx.reply.bulk(word));
            cx.reply.bulk("duration_ms");
            cx.reply.int(running.began.elapsed().as_millis() as i64);
        }
    }
    cx.reply.bulk("engines");
    cx.reply.map(1);
    cx.reply.bulk("LUA");
    cx.reply.map(2);
    cx.reply.bulk("libraries_count");
    cx.reply.int(libraries as i64);
    cx.reply.bulk("functions_count");
    cx.reply.int(functions as i64);
    Ok(())
}

#[cfg(test)]
#[path = "function_tests.rs"]
mod tests;
