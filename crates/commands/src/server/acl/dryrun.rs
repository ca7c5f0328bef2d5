//! `ACL DRYRUN`.

use acl::Denial;

use crate::access::Attempt;
use crate::context::{Ctx, Outcome};
use crate::error::{Error, shown};
use crate::spec::{Arg, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "dryrun",
    arity: -4,
    flags: super::ADMIN_FLAGS,
    acl: super::ADMIN_ACL,
    group: Group::Server,
    since: "7.0.0",
    summary: "Says whether a user may run a command, without running it.",
    args: &[Arg::string("username"), Arg::string("command"), Arg::string("arg").optional().multiple()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let global = cx.global();
    let name = cx.args[2];
    let user = global.access.users().get(name);
    let user = user.ok_or_else(|| Error::quoting("ERR User '", name, "' not found"))?.clone();
    let words = &cx.args[3..];
    let registry = global.registry.clone();
    let command = match registry.called(words) {
        None => return Err(Error::quoting("ERR Command '", words[0], "' not found").into()),
        Some(command) if !command.spec.accepts(words.len()) || command.spec.run.is_none() => {
            return Err(Error::Arity(command.full_name.clone().into()).into());
        }
        Some(command) => command,
    };
    let attempt = Attempt::new(command, words, cx.db.index, global.settings.databases);
    let Err(denial) = attempt.check(&user) else {
        cx.reply.ok();
        return Ok(());
    };
    let object = attempt.object(denial);
    let (before, after): (&[u8], &[u8]) = match denial {
        Denial::Command => (b"run the '", b"' command"),
        Denial::Key(_) => (b"access the '", b"' key"),
        Denial::Channel(_) => (b"access the '", b"' channel"),
        Denial::Database(_) => (b"access database ", b""),
    };
    // The log has the command's own name here, this reply what was typed.
    let object = if let Denial::Database(index) = denial { words[index].to_vec() } else { object };
    let text = [b"User ", shown(name), b" has no permissions to ", before, shown(&object), after].concat();
    cx.reply.bulk(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn what_would_be_refused() {
        script(&[
            ("ACL SETUSER u +@all -get ~a* &c", "+OK"),
            ("ACL DRYRUN nosuch get x", "-ERR User 'nosuch' not found"),
            ("ACL DRYRUN u nosuch x", "-ERR Command 'nosuch' not found"),
            ("ACL DRYRUN u config foo", "-ERR Command 'config' not found"),
            ("ACL DRYRUN u get", "-ERR wrong number of arguments for 'get' command"),
            ("ACL DRYRUN u config", "-ERR wrong number of arguments for 'config' command"),
            ("ACL DRYRUN u get a", "$50 User u has no permissions to run the 'get' command"),
            ("ACL DRYRUN u set a x", "+OK"),
            ("ACL DRYRUN u mset a1 x b x", "$47 User u has no permissions to access the 'b' key"),
            ("ACL DRYRUN u publish c x", "+OK"),
            ("ACL DRYRUN u publish d x", "$51 User u has no permissions to access the 'd' channel"),
            ("ACL DRYRUN u psubscribe c?", "$52 User u has no permissions to access the 'c?' channel"),
            // What contradicts itself has no keys: the command itself would refuse it.
            ("ACL DRYRUN u eval x 5 b", "+OK"),
        ]);
    }

    #[test]
    fn databases_as_in_valkey() {
        let mut rig = Rig::new();
        rig.script(&[
            ("ACL SETUSER u +@all ~* &* db=1", "+OK"),
            ("ACL DRYRUN u get x", "$48 User u has no permissions to access database get"),
            ("ACL DRYRUN u select 0", "$46 User u has no permissions to access database 0"),
            ("ACL DRYRUN u select 1", "+OK"),
            ("ACL DRYRUN u move x 1", "$49 User u has no permissions to access database move"),
            ("ACL DRYRUN u move x 0", "$46 User u has no permissions to access database 0"),
            ("ACL DRYRUN u swapdb 1 2", "$46 User u has no permissions to access database 2"),
            ("ACL DRYRUN u swapdb 1 1", "+OK"),
            ("ACL DRYRUN u keys *", "$49 User u has no permissions to access database keys"),
            ("ACL DRYRUN u publish a b", "+OK"),
            ("ACL DRYRUN u info", "+OK"),
            ("SELECT 1", "+OK"),
            ("ACL DRYRUN u get x", "+OK"),
            ("ACL DRYRUN u copy x y db 1", "+OK"),
            ("ACL DRYRUN u copy x y replace db 3", "$46 User u has no permissions to access database 3"),
            ("ACL DRYRUN u flushall", "$53 User u has no permissions to access database flushall"),
            ("ACL SETUSER u db=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "+OK"),
            ("ACL DRYRUN u flushall", "+OK"),
        ]);
    }
}
