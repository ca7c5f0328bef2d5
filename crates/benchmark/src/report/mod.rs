//! What is shown of the outcomes: text, CSV, JSON, and a page.

pub mod csv;
pub mod html;
pub mod json;
pub mod svg;
pub mod text;

use crate::cluster::Node;
use crate::settings::{Rate, Settings};
use crate::setup::ServerConfig;

/// What outcomes were measured on.
pub struct Circumstances<'a> {
    pub settings: &'a Settings,
    /// None where the server would not say, or in a cluster.
    pub config: Option<ServerConfig>,
    pub nodes: &'a [Node],
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

/// The pace in words, if there is one.
fn pace(settings: &Settings) -> Option<String> {
    Some(match settings.rate? {
        Rate::Limit(per_second) => format!("limited to {per_second} requests per second"),
        Rate::Open { per_second, poisson } => {
            let arrivals = if poisson { "at random" } else { "in even steps" };
            format!("open loop: {per_second} requests per second fall due {arrivals}")
        }
    })
}
