//! `FCALL` and `FCALL_RO`.

use scripting::Program;

use super::eval;
use crate::context::{Ctx, Outcome};
use crate::spec::{Arg, Flags, Spec};

pub const FCALL: Spec = Spec {
    name: "fcall",
    keys: &[
        eval::keys(eval::READ_WRITE).notes("What a function does to its keys is not known before it runs: anything")
    ],
    since: "7.0.0",
    summary: "Calls a function of a library.",
    complexity: "That of the function",
    args: &[Arg::string("function"), eval::NUMKEYS, eval::KEY, eval::ARG],
    run: Some(fcall),
    ..eval::EVAL
};

pub const FCALL_RO: Spec = Spec {
    name: "fcall_ro",
    flags: eval::FLAGS.union(Flags::READONLY),
    keys: &[
        eval::keys(eval::READ_ONLY).notes("What a function does to its keys is not known before it runs: any reading")
    ],
    summary: "Calls a function of a library that may only read.",
    ..FCALL
};

fn fcall(cx: &mut Ctx<'_>) -> Outcome {
    let name = cx.args[1];
    let Some(function) = cx.global_mut()?.scripts.functions.find(name).cloned() else {
        return cx.fail("ERR Function not found");
    };
    let Ok(count) = cx.int(2) else {
        return cx.fail("ERR Bad number of keys provided");
    };
    let numkeys = eval::keys_among_args(cx, count)?;
    eval::start(cx, Program::Function(function), numkeys)
}
