//! `COMMAND HELP`.

use crate::help;
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Server,
    since: "5.0.0",
    summary: "Describes the subcommands of COMMAND.",
    run: Some(help::run),
    ..Spec::NEW
};
