//! The append-only file: its files, who writes them and who reads them.
//!
//! | a server | does |
//! |---|---|
//! | starts | [`Files::open`], loads [`Files::parts`] (a base with [`Files::is_rdb`] as a snapshot, all else by [`Commands`]), [cuts](Files::truncate) what a crash has left half written; an [empty](Files::is_empty) set gets its [first base](Files::create_base); then [`Journal::reader`](crate::Journal::reader) and [`Writer::start`] |
//! | rewrites | in one wide access [`Writer::cut`] and the cut of a snapshot; the snapshot is written to [`Files::temporary_base_path`] and synchronised; [`Writer::install_base`]; waits for [`Event::BaseInstalled`] or the failure of either half |
//! | switches it on | in one wide access `reader` and the cut of a snapshot; [`Files::begin_anew`], `start`, and `install_base` for the offset where the reader began |
//! | switches it off, ends | [`Writer::stop`], and drops the reader in a wide access |
//! | is asked to be sure | holds a reply until [`Journal::answerable`](crate::Journal::answerable) or [`Journal::durable`](crate::Journal::durable) has passed what the command could see |

mod appender;
mod commands;
#[cfg(test)]
mod crash_tests;
mod files;
mod limit;
mod manifest;
#[cfg(test)]
mod simulated;
mod writer;

use std::io;

pub use appender::{Event, Failure, Figures, Fsync, Stage};
pub use commands::{Arguments, Commands, LoadError, LoadErrorKind, Unit, is_rdb};
pub use files::{BaseForm, Files, OpenError, Part};
pub use limit::RewriteLimit;
pub use manifest::{Entry, FileType, Manifest, ManifestError};
pub use writer::{Settings, Writer};

/// The system's text for an error, without the number that Rust adds.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(end)) => text[..end].to_owned(),
        _ => text,
    }
}
