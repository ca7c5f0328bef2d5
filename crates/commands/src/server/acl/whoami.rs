//! `ACL WHOAMI`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "whoami",
    arity: 2,
    flags: super::ANY_FLAGS,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "6.0.0",
    summary: "Returns the name of the connection's user.",
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.bulk(cx.session.user_name());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn the_one_who_was_let_in() {
        script(&[
            ("ACL WHOAMI", "$7 default"),
            ("ACL SETUSER anna on >x +@all", "+OK"),
            ("AUTH anna y", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("ACL WHOAMI", "$7 default"),
            ("AUTH anna x", "+OK"),
            ("ACL WHOAMI", "$4 anna"),
            ("RESET", "+RESET"),
            ("ACL WHOAMI", "$7 default"),
        ]);
    }
}
