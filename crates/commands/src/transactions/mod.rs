//! Transactions: MULTI and its kin. What they do lies in [`crate::transaction`].

mod exec;
mod multi;
mod watch;

use crate::spec::Spec;

pub const SPECS: &[&Spec] = &[&exec::SPEC, &multi::DISCARD, &multi::MULTI, &watch::UNWATCH, &watch::WATCH];
