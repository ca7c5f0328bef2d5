//! `AUTH`.

use acl::DEFAULT_USER;

use crate::access::note_failed_login;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "auth",
    arity: -2,
    flags: Flags::NOSCRIPT
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::FAST)
        .union(Flags::NO_AUTH)
        .union(Flags::ALLOW_BUSY),
    acl: Acl::FAST.union(Acl::CONNECTION),
    group: Group::Connection,
    summary: "Proves who the client is, by password or by user name and password.",
    complexity: "O(N), N being the number of passwords the user has",
    history: &[("6.0.0", "Takes a user name before the password (ACL).")],
    args: &[Arg::string("username").since("6.0.0").optional(), Arg::string("password")],
    is_secret: Some(|_, _| true),
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    match *cx.args {
        [_, password] => {
            if cx.global().access.users().default_user().needs_no_password() {
                return cx.fail(concat!(
                    "ERR AUTH <password> called without any password configured for the default user. ",
                    "Are you sure your configuration is correct?"
                ));
            }
            authenticate(cx, DEFAULT_USER, password)?;
        }
        [_, user, password] => authenticate(cx, user, password)?,
        _ => return Err(Error::Syntax.into()),
    }
    cx.reply.ok();
    Ok(())
}

/// Lets the client in, or leaves it as it was: a wrong password does not throw out who is in already.
///
/// # Errors
/// `WrongPass`, which does not tell a wrong name from a wrong password.
pub(super) fn authenticate(cx: &mut Ctx<'_>, user: &[u8], password: &[u8]) -> Result<(), Error> {
    let proved = cx.global().access.users().authenticate(user, password).cloned();
    let Some(user) = proved else {
        note_failed_login(cx, user);
        return Err(Error::WrongPass);
    };
    cx.session.become_user(&user);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn without_a_password_any_will_do_for_the_default_user() {
        script(&[
            ("AUTH default anything", "+OK"),
            ("AUTH nobody anything", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH a b c", "-ERR syntax error"),
            (
                "AUTH anything",
                "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ),
        ]);
    }

    #[test]
    fn with_a_password_only_that_one() {
        let mut rig = Rig::new();
        rig.script(&[("CONFIG SET requirepass secret", "+OK")]);
        rig.session.authenticated = false;
        for line in ["AUTH wrong", "AUTH default wrong", "AUTH Default secret", "AUTH secre", "AUTH default \"\""] {
            assert_eq!(rig.run(line), "-WRONGPASS invalid username-password pair or user is disabled.", "{line}");
            assert!(!rig.session.authenticated);
        }
        rig.script(&[("AUTH secret", "+OK")]);
        assert!(rig.session.authenticated);
        rig.script(&[("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.")]);
        assert!(rig.session.authenticated);
        assert_eq!(rig.host.stats[0].acl_denied_auth.get(), 6);
    }
}
