//! The append-only file: its files, who writes them and who reads them.
//!
//! Start at [`Writer`] for a server that runs, at [`Files`] and [`Commands`] for one that starts.

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
