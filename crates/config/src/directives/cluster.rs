//! Cluster mode.

#[allow(unused_imports)]
use super::bounds::*;
use crate::choices::{Choice, ClusterConfigSaveBehavior, ClusterPreferredEndpointType};
use crate::directive::{Directive, Key, Kind, row, rows};

rows! { super::replication::END;
    /// Whether the server is a node of a cluster.
    CLUSTER_ENABLED: bool = row("cluster-enabled", Kind::Bool, "no").fixed().later("cluster");
    /// File in which the node keeps what it knows of the cluster.
    CLUSTER_CONFIG_FILE: [u8] = row("cluster-config-file", Kind::Text, "nodes.conf").fixed().later("cluster");
    /// Whether the node stops when it cannot write that file.
    CLUSTER_CONFIG_SAVE_BEHAVIOR: ClusterConfigSaveBehavior = row("cluster-config-save-behavior", Kind::Choice(ClusterConfigSaveBehavior::NAMES), "sync").valkey().later("cluster");
    /// Number of databases in cluster mode.
    CLUSTER_DATABASES: i64 = row("cluster-databases", Kind::Int { min: 1, max: I32_MAX }, "1").fixed().valkey().later("cluster");
    /// Port of the cluster bus; 0 means the client port plus 10000.
    CLUSTER_PORT: i64 = row("cluster-port", PORT_NUMBER, "0").fixed().later("cluster");
    /// Milliseconds of silence after which a node counts as failing.
    CLUSTER_NODE_TIMEOUT: i64 = row("cluster-node-timeout", COUNT, "15000").later("cluster");
    /// How old a replica's data may be for it to stand for election, in node timeouts; 0 means any age.
    CLUSTER_REPLICA_VALIDITY_FACTOR: i64 = row("cluster-replica-validity-factor", COUNT_I32, "10").aliases(&["cluster-slave-validity-factor"]).later("cluster");
    /// Whether this node's replicas never fail over by themselves.
    CLUSTER_REPLICA_NO_FAILOVER: bool = row("cluster-replica-no-failover", Kind::Bool, "no").aliases(&["cluster-slave-no-failover"]).later("cluster");
    /// Replicas a primary keeps before one moves to a primary without any.
    CLUSTER_MIGRATION_BARRIER: i64 = row("cluster-migration-barrier", COUNT_I32, "1").later("cluster");
    /// Whether replicas move to primaries that have none.
    CLUSTER_ALLOW_REPLICA_MIGRATION: bool = row("cluster-allow-replica-migration", Kind::Bool, "yes").later("cluster");
    /// Whether the cluster stops when a slot has no node.
    CLUSTER_REQUIRE_FULL_COVERAGE: bool = row("cluster-require-full-coverage", Kind::Bool, "yes").later("cluster");
    /// Whether reads are served while the cluster is down.
    CLUSTER_ALLOW_READS_WHEN_DOWN: bool = row("cluster-allow-reads-when-down", Kind::Bool, "no").later("cluster");
    /// Whether sharded publish and subscribe work while the cluster is down.
    CLUSTER_ALLOW_PUBSUBSHARD_WHEN_DOWN: bool = row("cluster-allow-pubsubshard-when-down", Kind::Bool, "yes").later("cluster");
    /// Bytes that may wait on a link of the cluster bus; 0 means no limit.
    CLUSTER_LINK_SENDBUF_LIMIT: i64 = row("cluster-link-sendbuf-limit", Kind::UnsignedMemory { min: 0, max: i64::MAX }, "0").later("cluster");
    /// Address this node gives for itself.
    CLUSTER_ANNOUNCE_IP: [u8] = row("cluster-announce-ip", Kind::Text, "").later("cluster");
    /// Port this node gives for itself.
    CLUSTER_ANNOUNCE_PORT: i64 = row("cluster-announce-port", PORT_NUMBER, "0").later("cluster");
    /// TLS port this node gives for itself.
    CLUSTER_ANNOUNCE_TLS_PORT: i64 = row("cluster-announce-tls-port", PORT_NUMBER, "0").later("cluster");
    /// Bus port this node gives for itself.
    CLUSTER_ANNOUNCE_BUS_PORT: i64 = row("cluster-announce-bus-port", PORT_NUMBER, "0").later("cluster");
    /// Host name this node gives for itself.
    CLUSTER_ANNOUNCE_HOSTNAME: [u8] = row("cluster-announce-hostname", Kind::Text, "").check(super::checks::hostname).later("cluster");
    /// Name by which logs call this node.
    CLUSTER_ANNOUNCE_HUMAN_NODENAME: [u8] = row("cluster-announce-human-nodename", Kind::Text, "").check(super::checks::human_nodename).later("cluster");
    /// IPv4 address that clients are told.
    CLUSTER_ANNOUNCE_CLIENT_IPV4: [u8] = row("cluster-announce-client-ipv4", Kind::Text, "").check(super::checks::ipv4).valkey().later("cluster");
    /// IPv6 address that clients are told.
    CLUSTER_ANNOUNCE_CLIENT_IPV6: [u8] = row("cluster-announce-client-ipv6", Kind::Text, "").check(super::checks::ipv6).valkey().later("cluster");
    /// Port that clients are told.
    CLUSTER_ANNOUNCE_CLIENT_PORT: i64 = row("cluster-announce-client-port", PORT_NUMBER, "0").valkey().later("cluster");
    /// TLS port that clients are told.
    CLUSTER_ANNOUNCE_CLIENT_TLS_PORT: i64 = row("cluster-announce-client-tls-port", PORT_NUMBER, "0").valkey().later("cluster");
    /// What clients are told to connect to.
    CLUSTER_PREFERRED_ENDPOINT_TYPE: ClusterPreferredEndpointType = row("cluster-preferred-endpoint-type", Kind::Choice(ClusterPreferredEndpointType::NAMES), "ip").later("cluster");
    /// Seconds a node that was forgotten cannot come back.
    CLUSTER_BLACKLIST_TTL: i64 = row("cluster-blacklist-ttl", Kind::Int { min: i64::MIN, max: i64::MAX }, "60").valkey().later("cluster");
    /// Milliseconds a failover by command may take.
    CLUSTER_MANUAL_FAILOVER_TIMEOUT: i64 = row("cluster-manual-failover-timeout", POSITIVE_I32, "5000").valkey().later("cluster");
    /// Whether figures are kept for each slot.
    CLUSTER_SLOT_STATS_ENABLED: bool = row("cluster-slot-stats-enabled", Kind::Bool, "no").later("cluster");
    /// Entries in the log of slot migrations.
    CLUSTER_SLOT_MIGRATION_LOG_MAX_LEN: i64 = row("cluster-slot-migration-log-max-len", COUNT, "1000").valkey().later("cluster");
    /// Bytes still to be sent at which a moving slot is handed over; -1 means never by itself.
    SLOT_MIGRATION_MAX_FAILOVER_REPL_BYTES: i64 = row("slot-migration-max-failover-repl-bytes", Kind::SignedMemory { min: -1, max: i64::MAX }, "0").valkey().later("cluster");
    /// Percentage of commands checked for whether a cluster could serve them.
    CLUSTER_COMPATIBILITY_SAMPLE_RATIO: i64 = row("cluster-compatibility-sample-ratio", Kind::Int { min: 0, max: 100 }, "0").later("cluster");
}
