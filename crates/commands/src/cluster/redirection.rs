//! `ASKING`, `READONLY` and `READWRITE`: where a connection may be served, in a cluster.

use super::refuse;
use crate::spec::{Acl, Flags, Group, Spec};

pub const ASKING: Spec = Spec {
    name: "asking",
    flags: Flags::FAST,
    acl: Acl::FAST.union(Acl::CONNECTION),
    group: Group::Cluster,
    since: "3.0.0",
    summary: "Has the next command served although its slot is still on its way here.",
    run: Some(refuse),
    ..Spec::NEW
};

pub const READONLY: Spec = Spec {
    name: "readonly",
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
    summary: "Has a replica serve what this connection reads.",
    ..ASKING
};

pub const READWRITE: Spec = Spec {
    name: "readwrite",
    summary: "Has a replica send what this connection reads to its primary again.",
    ..READONLY
};
