//! `CLUSTERSCAN`, which only Valkey has.

use super::refuse;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "clusterscan",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::NOT_KEY, 1)],
    tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
    group: Group::Cluster,
    since: "9.1.0",
    summary: "Walks over the keys of all nodes of a cluster.",
    complexity: "O(N), N being the number of elements of the reply",
    args: &[
        Arg::string("cursor"),
        Arg::pattern("match-pattern").token("MATCH").optional(),
        Arg::integer("count").token("COUNT").optional(),
        Arg::string("type").token("TYPE").optional(),
        Arg::integer("slot").token("SLOT").optional(),
    ],
    run: Some(refuse),
    ..Spec::NEW
};
