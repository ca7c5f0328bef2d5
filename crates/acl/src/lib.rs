//! Users and what they may do: rules as ACL SETUSER, `user` directives and ACL files give them, the compiled form that commands are
//! checked against, and the log of what was refused.
//!
//! ```text
//!  rule texts ──> User ──> Selector: root, and those in parentheses
//!                              │ any of them lets a request pass as a whole
//!                              ▼
//!  Request (command, keys, channels, databases) ──> nothing, or the Denial of the selector that came closest
//! ```
//!
//! This crate knows no command: names and categories are asked of a [`Catalog`], and what a command touches comes in a [`Request`].
//! It opens no file and no socket, and reads no clock. Start reading at [`User`], then [`Selector`].

mod catalog;
mod databases;
mod denial;
mod error;
mod file;
pub mod fuzz;
mod log;
mod password;
mod patterns;
mod permitted;
mod selector;
mod user;
mod users;
mod words;

pub use catalog::{Catalog, CommandId};
pub use databases::Databases;
pub use denial::{ChannelUse, Denial, KeyUse, Request, Touched};
pub use error::RuleError;
pub use file::{FileErrors, decode_file, encode_file};
pub use log::{Context, Entry, Incident, Log, Reason};
pub use password::Password;
pub use selector::Selector;
pub use user::{NewUsers, User};
pub use users::{DEFAULT_USER, Users, name_is_valid};
pub use words::{Unmatched, join_selectors};
