//! `COMMAND` and its subcommands.

mod count;
mod docs;
mod getkeys;
mod help;
mod info;
mod list;

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "command",
    arity: -1,
    flags: Flags::LOADING.union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Server,
    since: "2.8.13",
    summary: "Describes all commands.",
    complexity: "O(N), N being the number of commands",
    tips: &["nondeterministic_output_order"],
    subcommands: &[
        count::SPEC,
        docs::SPEC,
        getkeys::GETKEYS,
        getkeys::GETKEYSANDFLAGS,
        help::SPEC,
        info::SPEC,
        list::SPEC,
    ],
    run: Some(run),
    ..Spec::NEW
};

/// COMMAND alone describes everything, like COMMAND INFO.
fn run(cx: &mut Ctx<'_>) -> Outcome {
    info::describe_all(cx)
}
