//! `ECHO`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "echo",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
    acl: Acl::FAST.union(Acl::CONNECTION),
    group: Group::Connection,
    summary: "Returns its argument.",
    args: &[Arg::string("message")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.bulk(cx.args[1]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn as_it_came() {
        script(&[("ECHO \"a\\x00b\"", "$3 a\0b")]);
    }
}
