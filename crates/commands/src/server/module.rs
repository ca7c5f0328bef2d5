//! `MODULE`: there are none. Clients that ask which get an empty list, and what would load one says that it cannot.

use config::LogLevel;

use crate::context::{Ctx, Outcome};
use crate::help;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "module",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "4.0.0",
    summary: "Groups the commands about modules, of which this server has none.",
    complexity: "Depends on the subcommand.",
    subcommands: &[HELP, LIST, LOAD, LOADEX, UNLOAD],
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "5.0.0",
    summary: "Describes the subcommands of MODULE.",
    run: Some(help::run),
    ..Spec::NEW
};

pub const LIST: Spec = Spec {
    name: "list",
    arity: 2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    tips: &["nondeterministic_output_order"],
    group: Group::Server,
    since: "4.0.0",
    summary: "Lists the modules that are loaded: none.",
    complexity: "O(N), N being the number of loaded modules",
    run: Some(list),
    ..Spec::NEW
};

/// Of what would change which modules there are.
const CHANGING: Spec = Spec {
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING).union(Flags::PROTECTED),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "4.0.0",
    ..Spec::NEW
};

pub const LOAD: Spec = Spec {
    name: "load",
    arity: -3,
    summary: "Would load a module; fails.",
    args: &[Arg::string("path"), Arg::string("arg").optional().multiple()],
    run: Some(load),
    ..CHANGING
};

pub const LOADEX: Spec = Spec {
    name: "loadex",
    arity: -3,
    since: "7.0.0",
    summary: "Would load a module with directives of its own; fails.",
    args: &[
        Arg::string("path"),
        Arg::block("configs", &[Arg::string("name"), Arg::string("value")]).token("CONFIG").optional().multiple_token(),
        Arg::string("args").token("ARGS").optional().multiple(),
    ],
    run: Some(load),
    ..CHANGING
};

pub const UNLOAD: Spec = Spec {
    name: "unload",
    arity: 3,
    summary: "Would take a module out; there is none.",
    args: &[Arg::string("name")],
    run: Some(unload),
    ..CHANGING
};

fn list(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.array(0);
    Ok(())
}

fn load(cx: &mut Ctx<'_>) -> Outcome {
    let path = String::from_utf8_lossy(cx.args[2]).into_owned();
    cx.host.log(LogLevel::Warning, &format!("Module {path} was not loaded: this server has no interface for modules"));
    cx.fail("ERR Error loading the extension. Please check the server logs.")
}

fn unload(cx: &mut Ctx<'_>) -> Outcome {
    cx.fail("ERR Error unloading module: no such module with that name")
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn there_are_none() {
        script(&[
            ("MODULE LIST", "*0"),
            ("MODULE LIST x", "-ERR wrong number of arguments for 'module|list' command"),
            ("MODULE LOAD /nosuch", "-ERR Error loading the extension. Please check the server logs."),
            ("MODULE LOADEX /nosuch CONFIG a b", "-ERR Error loading the extension. Please check the server logs."),
            ("MODULE UNLOAD nosuch", "-ERR Error unloading module: no such module with that name"),
        ]);
    }
}
