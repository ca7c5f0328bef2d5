//! Hashes.

use crate::spec::Spec;

pub const SPECS: &[&Spec] = &[];
