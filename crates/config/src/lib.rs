//! Directives of the server: what there are, how a file or a command line sets them, and how CONFIG GET, SET and
//! REWRITE show, change and keep them.
//!
//! Owns the table of directives ([`directives`]), their values ([`Config`]), the file format ([`load`]), and the
//! rewriting of a file ([`rewrite`]).
//!
//! Must not know: sockets, threads, commands, or what a directive does. The server reads values and makes them felt;
//! the crate only says whether a value is valid. The only files it touches are those it parses and rewrites (and it
//! asks whether the folder `dir` exists).
//!
//! Start reading at [`directive::Directive`] (one row), then any file of [`directives`], then [`Config`].
//!
//! ```
//! use spinel_config::{Client, Config, directives};
//!
//! let mut config = Config::default();
//! assert_eq!(config.get(directives::PORT), 6379);
//! let changes = config.prepare_set(&[("maxclients", "100"), ("save", "")], Client::Local).unwrap();
//! config.apply(&changes);
//! // Here the server makes the values felt, and calls `config.revert(&changes)` where it cannot.
//! assert_eq!(config.get(directives::MAXCLIENTS), 100);
//! ```

pub mod choices;
pub mod command_line;
mod config;
pub mod directive;
pub mod directives;
pub mod docs;
pub mod glob;
pub mod load;
pub mod rewrite;
pub mod units;
mod value;
pub mod words;

pub use choices::*;
pub use config::{Changes, Client, Config, SetError};
pub use directive::{Directive, DirectiveId, Key};
pub use glob::glob_match;
pub use load::{Loaded, Source};
pub use value::{
    Bytes, KeyspaceEvents, MemoryLimit, OutputLimit, OutputLimits, PrimaryAddress, SavePoint, Setting, Value,
    os_error_text,
};
