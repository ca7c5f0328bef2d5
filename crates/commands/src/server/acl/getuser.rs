//! `ACL GETUSER`.

use acl::{Databases, Selector};
use resp::Reply;

use crate::context::{Ctx, Outcome};
use crate::registry::Registry;
use crate::spec::{Arg, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "getuser",
    arity: 3,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "6.0.0",
    summary: "Describes a user and his rules.",
    complexity: "O(N), N being the number of passwords and rules the user has",
    history: &[
        ("6.2.0", "Patterns of channels."),
        ("7.0.0", "Selectors; patterns of keys and channels are shown as rules, not as lists."),
        ("9.1.0", "Rules about databases."),
    ],
    args: &[Arg::string("username")],
    // Names of users, and rules with passwords in them.
    is_secret: Some(|_, index| index >= 2),
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let global = cx.global();
    let registry = global.registry.clone();
    let Some(user) = global.access.users().get(cx.args[2]).cloned() else {
        cx.reply.null();
        return Ok(());
    };
    let reply = &mut *cx.reply;
    reply.map(6 + usize::from(is_bound(user.root())));
    reply.bulk("flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag));
    reply.bulk("passwords");
    reply.array(user.passwords().len());
    user.passwords().iter().for_each(|password| reply.bulk(password.to_string()));
    describe(reply, user.root(), &registry);
    reply.bulk("selectors");
    reply.array(user.selectors().len());
    for selector in user.selectors() {
        reply.map(3 + usize::from(is_bound(selector)));
        describe(reply, selector, &registry);
    }
    Ok(())
}

fn describe(reply: &mut Reply, selector: &Selector, registry: &Registry) {
    reply.bulk("commands");
    reply.bulk(selector.describe_commands(registry));
    reply.bulk("keys");
    reply.bulk(selector.describe_keys());
    reply.bulk("channels");
    reply.bulk(selector.describe_channels());
    if is_bound(selector) {
        let mut text = Vec::new();
        selector.databases().describe(&mut text);
        reply.bulk("databases");
        // Valkey shows the absence of any as nothing.
        reply.bulk(if text == b"resetdbs" { &b""[..] } else { &text });
    }
}

/// Redis has no such field: it is there only where a rule of Valkey's has been given.
fn is_bound(selector: &Selector) -> bool {
    *selector.databases() != Databases::All
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn all_that_is_known() {
        script(&[
            ("ACL GETUSER nosuch", "$-1"),
            (
                "ACL GETUSER default",
                "*12 $5 flags *3 $2 on $6 nopass $16 sanitize-payload $9 passwords *0 $8 commands $5 +@all $4 keys $2 ~* \
                 $8 channels $2 &* $9 selectors *0",
            ),
            ("ACL SETUSER u on >x +@read -get ~a %R~b &c (+set ~d) (resetdbs)", "+OK"),
            (
                "ACL GETUSER u",
                "*12 $5 flags *2 $2 on $16 sanitize-payload $9 passwords *1 $64 \
                 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 $8 commands $17 -@all +@read -get $4 keys \
                 $7 ~a %R~b $8 channels $2 &c $9 selectors *2 *6 $8 commands $10 -@all +set $4 keys $2 ~d $8 channels $0  \
                 *8 $8 commands $5 -@all $4 keys $0  $8 channels $0  $9 databases $0",
            ),
            ("ACL SETUSER u reset db=3,1", "+OK"),
            (
                "ACL GETUSER u",
                "*14 $5 flags *2 $3 off $16 sanitize-payload $9 passwords *0 $8 commands $5 -@all $4 keys $0  $8 channels $0  \
                 $9 databases $6 db=1,3 $9 selectors *0",
            ),
        ]);
    }
}
