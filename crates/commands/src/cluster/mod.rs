//! Commands of clusters. This server is no node of one, and each says so, as Redis does with `cluster-enabled no`; that they are there lets
//! rules name them, and clients that look find out.

mod redirection;
mod scan;
mod subcommands;

use crate::context::{Ctx, Outcome};
use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] =
    &[&redirection::ASKING, &subcommands::SPEC, &scan::SPEC, &redirection::READONLY, &redirection::READWRITE];

/// The handler of all of them, HELP too.
fn refuse(cx: &mut Ctx<'_>) -> Outcome {
    cx.fail("ERR This instance has cluster support disabled")
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    const REFUSED: &str = "-ERR This instance has cluster support disabled";

    #[test]
    fn no_node_of_a_cluster() {
        script(&[
            ("CLUSTER INFO", REFUSED),
            ("CLUSTER HELP", REFUSED),
            ("CLUSTER RESET a b c", REFUSED),
            ("CLUSTER KEYSLOT", "-ERR wrong number of arguments for 'cluster|keyslot' command"),
            ("CLUSTER", "-ERR wrong number of arguments for 'cluster' command"),
            ("CLUSTER FOO", "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP."),
            ("ASKING", REFUSED),
            ("READONLY", REFUSED),
            ("READWRITE", REFUSED),
            ("CLUSTERSCAN 0", REFUSED),
            ("COMMAND GETKEYS CLUSTERSCAN 0", "-ERR The command has no key arguments"),
        ]);
    }

    #[test]
    fn rules_name_them() {
        script(&[
            ("ACL SETUSER a +cluster -cluster|reset +readonly", "+OK"),
            ("ACL DRYRUN a CLUSTER INFO", "+OK"),
            ("ACL DRYRUN a CLUSTER RESET", "$60 User a has no permissions to run the 'cluster|reset' command"),
        ]);
    }
}
