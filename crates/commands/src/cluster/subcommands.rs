//! `CLUSTER` of a server that is no node of a cluster: each subcommand is known, with all that COMMAND and rules say of it, and says so.

use super::refuse;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "cluster",
    arity: -2,
    acl: Acl::SLOW,
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Groups the commands about the cluster that a node belongs to.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        ADDSLOTS,
        ADDSLOTSRANGE,
        BUMPEPOCH,
        CANCELSLOTMIGRATIONS,
        COUNT_FAILURE_REPORTS,
        COUNTKEYSINSLOT,
        DELSLOTS,
        DELSLOTSRANGE,
        FAILOVER,
        FLUSHSLOT,
        FLUSHSLOTS,
        FORGET,
        GETKEYSINSLOT,
        GETSLOTMIGRATIONS,
        HELP,
        INFO,
        KEYSLOT,
        LINKS,
        MEET,
        MIGRATESLOTS,
        MYID,
        MYSHARDID,
        NODES,
        REPLICAS,
        REPLICATE,
        RESET,
        SAVECONFIG,
        SET_CONFIG_EPOCH,
        SETSLOT,
        SHARDS,
        SLAVES,
        SLOT_STATS,
        SLOTS,
        SYNCSLOTS,
    ],
    ..Spec::NEW
};

/// Of what asks, or changes nothing that others see.
const TELLING: Spec =
    Spec { flags: Flags::STALE, acl: Acl::SLOW, group: Group::Cluster, since: "3.0.0", run: Some(refuse), ..Spec::NEW };

/// Of what changes the cluster.
const CHANGING: Spec = Spec {
    flags: Flags::ADMIN.union(Flags::STALE).union(Flags::NO_ASYNC_LOADING),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    ..TELLING
};

pub const ADDSLOTS: Spec = Spec {
    name: "addslots",
    arity: -3,
    summary: "Gives hash slots to this node.",
    complexity: "O(N), N being the number of slots",
    args: &[Arg::integer("slot").multiple()],
    ..CHANGING
};

pub const ADDSLOTSRANGE: Spec = Spec {
    name: "addslotsrange",
    arity: -4,
    since: "7.0.0",
    summary: "Gives ranges of hash slots to this node.",
    complexity: "O(N), N being the number of slots in the ranges",
    args: &[Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple()],
    ..CHANGING
};

pub const BUMPEPOCH: Spec = Spec {
    name: "bumpepoch",
    arity: 2,
    tips: &["nondeterministic_output"],
    summary: "Raises the epoch of the configuration of this node.",
    ..CHANGING
};

pub const CANCELSLOTMIGRATIONS: Spec = Spec {
    name: "cancelslotmigrations",
    arity: 2,
    since: "9.0.0",
    summary: "Stops all moves of slots away from this node.",
    complexity: "O(N), N being the number of moves",
    ..CHANGING
};

pub const COUNT_FAILURE_REPORTS: Spec = Spec {
    name: "count-failure-reports",
    arity: 3,
    flags: Flags::ADMIN.union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW.union(Acl::DANGEROUS)),
    tips: &["nondeterministic_output"],
    summary: "How many nodes report that a node has failed.",
    complexity: "O(N), N being the number of reports",
    history: &[("9.0.0", "A node that counts as failed gathers no further reports.")],
    args: &[Arg::string("node-id")],
    ..TELLING
};

pub const COUNTKEYSINSLOT: Spec = Spec {
    name: "countkeysinslot",
    arity: 3,
    summary: "How many keys a hash slot holds.",
    args: &[Arg::integer("slot")],
    ..TELLING
};

pub const DELSLOTS: Spec = Spec {
    name: "delslots",
    arity: -3,
    summary: "Takes hash slots from their owner, as this node sees it.",
    complexity: "O(N), N being the number of slots",
    args: &[Arg::integer("slot").multiple()],
    ..CHANGING
};

pub const DELSLOTSRANGE: Spec = Spec {
    name: "delslotsrange",
    arity: -4,
    since: "7.0.0",
    summary: "Takes ranges of hash slots from their owner, as this node sees it.",
    complexity: "O(N), N being the number of slots in the ranges",
    args: &[Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple()],
    ..CHANGING
};

pub const FAILOVER: Spec = Spec {
    name: "failover",
    arity: -2,
    summary: "Has a replica take the place of its primary.",
    args: &[Arg::one_of("options", &[Arg::word("force", "FORCE"), Arg::word("takeover", "TAKEOVER")]).optional()],
    ..CHANGING
};

pub const FLUSHSLOT: Spec = Spec {
    name: "flushslot",
    arity: -3,
    flags: Flags::WRITE.union(Flags::ADMIN.union(Flags::NO_ASYNC_LOADING)),
    acl: Acl::KEYSPACE.union(Acl::WRITE.union(Acl::ADMIN.union(Acl::SLOW.union(Acl::DANGEROUS)))),
    since: "9.0.0",
    summary: "Removes all keys of a hash slot.",
    complexity: "O(N), N being the number of keys in the slot",
    args: &[
        Arg::integer("slot"),
        Arg::one_of("flush-type", &[Arg::word("async", "ASYNC"), Arg::word("sync", "SYNC")]).optional(),
    ],
    ..TELLING
};

pub const FLUSHSLOTS: Spec =
    Spec { name: "flushslots", arity: 2, summary: "Forgets all hash slots of this node.", ..CHANGING };

pub const FORGET: Spec =
    Spec { name: "forget", arity: 3, summary: "Forgets another node.", args: &[Arg::string("node-id")], ..CHANGING };

pub const GETKEYSINSLOT: Spec = Spec {
    name: "getkeysinslot",
    arity: 4,
    tips: &["nondeterministic_output"],
    summary: "Names some keys of a hash slot.",
    complexity: "O(N), N being the number of keys asked for",
    args: &[Arg::integer("slot"), Arg::integer("count")],
    ..TELLING
};

pub const GETSLOTMIGRATIONS: Spec = Spec {
    name: "getslotmigrations",
    arity: 2,
    since: "9.0.0",
    summary: "Lists the moves of slots from and to this node.",
    complexity: "O(N), N being the number of moves",
    ..CHANGING
};

pub const HELP: Spec = Spec {
    name: "help",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    since: "5.0.0",
    summary: "Describes the subcommands of CLUSTER.",
    ..TELLING
};

pub const INFO: Spec = Spec {
    name: "info",
    arity: 2,
    tips: &["nondeterministic_output"],
    summary: "How this node sees the state of the cluster.",
    ..TELLING
};

pub const KEYSLOT: Spec = Spec {
    name: "keyslot",
    arity: 3,
    summary: "The hash slot that a key belongs to.",
    complexity: "O(N), N being the length of the key",
    args: &[Arg::string("key")],
    ..TELLING
};

pub const LINKS: Spec = Spec {
    name: "links",
    arity: 2,
    tips: &["nondeterministic_output"],
    since: "7.0.0",
    summary: "Lists the connections to and from other nodes.",
    complexity: "O(N), N being the number of nodes",
    ..TELLING
};

pub const MEET: Spec = Spec {
    name: "meet",
    arity: -4,
    summary: "Makes another node known to this one.",
    history: &[("4.0.0", "The optional argument `cluster-bus-port`.")],
    args: &[Arg::string("ip"), Arg::integer("port"), Arg::integer("cluster-bus-port").since("4.0.0").optional()],
    ..CHANGING
};

pub const MIGRATESLOTS: Spec = Spec {
    name: "migrateslots",
    arity: -4,
    since: "9.0.0",
    summary: "Begins to move ranges of hash slots to other nodes.",
    complexity: "O(N), N being the number of slots in the ranges",
    args: &[Arg::block(
        "migration-group",
        &[
            Arg::word("slotsrange-token", "SLOTSRANGE"),
            Arg::block("range", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).multiple(),
            Arg::word("node-token", "NODE"),
            Arg::string("node-id"),
        ],
    )
    .multiple()],
    ..CHANGING
};

pub const MYID: Spec = Spec { name: "myid", arity: 2, summary: "The id of this node.", ..TELLING };

pub const MYSHARDID: Spec = Spec {
    name: "myshardid",
    arity: 2,
    tips: &["nondeterministic_output"],
    since: "7.2.0",
    summary: "The id of the shard that this node belongs to.",
    ..TELLING
};

pub const NODES: Spec = Spec {
    name: "nodes",
    arity: 2,
    tips: &["nondeterministic_output"],
    summary: "Lists all nodes that this one knows, in the form of its file.",
    complexity: "O(N), N being the number of nodes",
    ..TELLING
};

pub const REPLICAS: Spec = Spec {
    name: "replicas",
    arity: 3,
    flags: Flags::ADMIN.union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW.union(Acl::DANGEROUS)),
    tips: &["nondeterministic_output"],
    since: "5.0.0",
    summary: "Lists the replicas of a primary.",
    complexity: "O(N), N being the number of replicas",
    args: &[Arg::string("node-id")],
    ..TELLING
};

pub const REPLICATE: Spec = Spec {
    name: "replicate",
    arity: 3,
    summary: "Makes this node the replica of another, or of none.",
    history: &[("9.0.0", "`NO ONE` in place of a node makes it a primary of its own.")],
    args: &[Arg::one_of(
        "args",
        &[
            Arg::string("node-id"),
            Arg::block("no-one", &[Arg::word("no", "NO"), Arg::word("one", "ONE")]).since("9.0.0"),
        ],
    )],
    ..CHANGING
};

pub const RESET: Spec = Spec {
    name: "reset",
    arity: -2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT.union(Flags::STALE)),
    acl: Acl::ADMIN.union(Acl::SLOW.union(Acl::DANGEROUS)),
    summary: "Makes this node forget its cluster.",
    complexity: "O(N), N being the number of nodes",
    args: &[Arg::one_of("reset-type", &[Arg::word("hard", "HARD"), Arg::word("soft", "SOFT")]).optional()],
    ..TELLING
};

pub const SAVECONFIG: Spec =
    Spec { name: "saveconfig", arity: 2, summary: "Writes what this node knows of the cluster to disk.", ..CHANGING };

pub const SET_CONFIG_EPOCH: Spec = Spec {
    name: "set-config-epoch",
    arity: 3,
    summary: "Sets the epoch of the configuration of a new node.",
    args: &[Arg::integer("config-epoch")],
    ..CHANGING
};

pub const SETSLOT: Spec = Spec {
    name: "setslot",
    arity: -4,
    summary: "Says whose a hash slot is, or where it moves to or from.",
    history: &[("8.0.0", "The option `TIMEOUT`.")],
    args: &[
        Arg::integer("slot"),
        Arg::one_of(
            "subcommand",
            &[
                Arg::string("importing").display("node-id").token("IMPORTING"),
                Arg::string("migrating").display("node-id").token("MIGRATING"),
                Arg::string("node").display("node-id").token("NODE"),
                Arg::word("stable", "STABLE"),
            ],
        ),
        Arg::integer("timeout").token("TIMEOUT").since("8.0.0").optional(),
    ],
    ..CHANGING
};

pub const SHARDS: Spec = Spec {
    name: "shards",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    tips: &["nondeterministic_output"],
    since: "7.0.0",
    summary: "Lists the shards with their hash slots and nodes.",
    complexity: "O(N), N being the number of nodes",
    history: &[("9.1.0", "The `id` of shards, and the `availability-zone` of nodes.")],
    ..TELLING
};

pub const SLAVES: Spec = Spec {
    name: "slaves",
    arity: 3,
    flags: Flags::ADMIN.union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW.union(Acl::DANGEROUS)),
    tips: &["nondeterministic_output"],
    summary: "The older name of CLUSTER REPLICAS.",
    complexity: "O(N), N being the number of replicas",
    doc_flags: &["deprecated"],
    deprecated_since: Some("5.0.0"),
    replaced_by: Some("`CLUSTER REPLICAS`"),
    args: &[Arg::string("node-id")],
    ..TELLING
};

pub const SLOT_STATS: Spec = Spec {
    name: "slot-stats",
    arity: -4,
    flags: Flags::LOADING.union(Flags::STALE),
    tips: &["nondeterministic_output", "request_policy:all_shards"],
    since: "8.2.0",
    summary: "Counts of the hash slots of this node.",
    complexity: "O(N), N being the number of slots; O(N*log(N)) with ORDERBY",
    args: &[Arg::one_of(
        "filter",
        &[
            Arg::block("slotsrange", &[Arg::integer("start-slot"), Arg::integer("end-slot")]).token("SLOTSRANGE"),
            Arg::block(
                "orderby",
                &[
                    Arg::string("metric"),
                    Arg::integer("limit").token("LIMIT").optional(),
                    Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
                ],
            )
            .token("ORDERBY"),
        ],
    )],
    ..TELLING
};

pub const SLOTS: Spec = Spec {
    name: "slots",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE),
    tips: &["nondeterministic_output"],
    summary: "Lists ranges of hash slots with their nodes.",
    complexity: "O(N), N being the number of nodes",
    doc_flags: &["deprecated"],
    deprecated_since: Some("7.0.0"),
    replaced_by: Some("`CLUSTER SHARDS`"),
    history: &[
        ("4.0.0", "Ids of nodes."),
        ("7.0.0", "One more field about how a node is reached."),
        ("9.1.0", "The `availability-zone` among those fields."),
    ],
    ..TELLING
};

pub const SYNCSLOTS: Spec = Spec {
    name: "syncslots",
    arity: -3,
    since: "9.0.0",
    summary: "What nodes say to each other while a slot moves.",
    complexity: "Depends on what is said.",
    doc_flags: &["syscmd"],
    ..CHANGING
};
