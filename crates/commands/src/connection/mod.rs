//! Commands about the connection itself: who the client is, what it speaks, and CLIENT.

mod auth;
pub(crate) mod client;
mod echo;
mod hello;
mod ping;
mod quit;
mod reset;
pub(crate) mod select;

pub use hello::REDIS_VERSION;

use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] =
    &[&auth::SPEC, &client::SPEC, &echo::SPEC, &hello::SPEC, &ping::SPEC, &quit::SPEC, &reset::SPEC, &select::SPEC];
