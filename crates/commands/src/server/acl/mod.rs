//! `ACL` and its subcommands: users and what they may do. The rules are the crate [`acl`](::acl), enforcement is in [`crate::access`].

mod cat;
mod deluser;
mod dryrun;
mod file;
mod genpass;
mod getuser;
mod list;
mod log;
mod setuser;
mod whoami;

use std::sync::Arc;

use crate::client::Client;
use crate::connection::client::kill;
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop, shown};
use crate::help;
use crate::pubsub::Topic;
use crate::spec::{Acl, Flags, Group, Spec};

/// What most subcommands have.
const ADMIN_FLAGS: Flags = Flags::ADMIN.union(ANY_FLAGS);
const ADMIN_ACL: Acl = Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS);
/// What those have that anybody may use.
const ANY_FLAGS: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
const ON_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

pub const SPEC: Spec = Spec {
    name: "acl",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Server,
    since: "6.0.0",
    summary: "Groups the commands about users and what they may do.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        cat::SPEC,
        deluser::SPEC,
        dryrun::SPEC,
        genpass::SPEC,
        getuser::SPEC,
        HELP,
        list::LIST,
        file::LOAD,
        log::SPEC,
        file::SAVE,
        setuser::SPEC,
        list::USERS,
        whoami::SPEC,
    ],
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW,
    group: Group::Server,
    since: "6.0.0",
    summary: "Describes the subcommands of ACL.",
    run: Some(help::run),
    ..Spec::NEW
};

/// The specs of some subcommands allow more arguments than their handlers, which have a text of their own for that.
fn check_arguments_max(cx: &Ctx<'_>, max: usize) -> Result<(), Stop> {
    if cx.args.len() <= max {
        return Ok(());
    }
    let word = String::from_utf8_lossy(shown(cx.args[1])).into_owned();
    Err(Error::string(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try ACL HELP."))
        .into())
}

/// Closes the connections of those that `is_concerned` names.
fn close_clients(cx: &mut Ctx<'_>, is_concerned: impl Fn(&Client) -> bool) -> Outcome {
    let concerned: Vec<Arc<Client>> =
        cx.host.clients().open().into_iter().filter(|client| is_concerned(client)).collect();
    concerned.iter().try_for_each(|client| kill(cx, client))
}

/// Whether a client that acts for `user` is subscribed to something that he may not receive.
fn receives_what_is_forbidden(client: &Client, user: &acl::User) -> bool {
    [(Topic::Channel, false), (Topic::Pattern, true), (Topic::Shard, false)].into_iter().any(|(topic, is_pattern)| {
        client
            .subscriber()
            .is_some_and(|subscriber| subscriber.names(topic).iter().any(|name| !user.may_receive(name, is_pattern)))
    })
}

/// Everybody who waits to be told by a setting or a file who they are looks again.
fn tell_event_loops(cx: &Ctx<'_>, needed_password_before: bool) {
    if cx.global().access.password_needed() != needed_password_before {
        cx.host.wake_all();
    }
}
