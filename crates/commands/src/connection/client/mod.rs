//! `CLIENT` and its subcommands.

mod capa;
mod filter;
mod id;
mod import_source;
mod info;
mod kill;
mod list;
mod name;
mod no_evict;
mod no_touch;
mod pause;
mod reply;
mod setinfo;
mod tracking;
mod unblock;

use crate::context::Ctx;
use crate::error::{Error, Stop};
use crate::help;
use crate::spec::{Acl, Flags, Group, Spec};

pub(crate) use kill::kill;
pub(crate) use list::describe_client;
pub(super) use name::check_name;

pub const SPEC: Spec = Spec {
    name: "client",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Connection,
    since: "2.4.0",
    summary: "Groups the commands about client connections.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        tracking::CACHING,
        capa::SPEC,
        HELP,
        id::SPEC,
        import_source::SPEC,
        info::SPEC,
        kill::SPEC,
        list::SPEC,
        name::GETNAME,
        name::SETNAME,
        no_evict::SPEC,
        no_touch::SPEC,
        pause::PAUSE,
        pause::UNPAUSE,
        reply::SPEC,
        setinfo::SPEC,
        tracking::GETREDIR,
        tracking::TRACKING,
        tracking::TRACKINGINFO,
        unblock::SPEC,
    ],
    ..Spec::NEW
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "5.0.0",
    summary: "Describes the subcommands of CLIENT.",
    run: Some(help::run),
    ..Spec::NEW
};

/// Argument `index` of a subcommand that switches something.
fn on_or_off(cx: &Ctx<'_>, index: usize) -> Result<bool, Stop> {
    match (cx.word(index, "ON"), cx.word(index, "OFF")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(Error::Syntax.into()),
    }
}

/// PAUSE and UNBLOCK declare no upper bound of arguments, and have a text of their own for too many.
fn check_arguments_max(cx: &Ctx<'_>, max: usize) -> Result<(), Stop> {
    if cx.args.len() <= max {
        return Ok(());
    }
    let text: [&[u8]; 3] =
        [b"ERR unknown subcommand or wrong number of arguments for '", cx.args[1], b"'. Try CLIENT HELP."];
    Err(Error::Bytes(text.concat()).into())
}
