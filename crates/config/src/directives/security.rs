//! Who may do what.

#[allow(unused_imports)]
use super::bounds::*;
use crate::choices::{AclPubsubDefault, Choice, Permitted};
use crate::directive::{Directive, Key, Kind, row, rows};
use crate::value::Bytes;

rows! { super::clients::END;
    /// Password of the default user; empty means that none is asked for.
    REQUIREPASS: [u8] = row("requirepass", Kind::Text, "").secret();
    /// Who may use DEBUG.
    ENABLE_DEBUG_COMMAND: Permitted = row("enable-debug-command", Kind::Choice(Permitted::NAMES), "no").fixed();
    /// Who may use MODULE.
    ENABLE_MODULE_COMMAND: Permitted = row("enable-module-command", Kind::Choice(Permitted::NAMES), "no").fixed();
    /// Who may change directives that the table calls protected.
    ENABLE_PROTECTED_CONFIGS: Permitted = row("enable-protected-configs", Kind::Choice(Permitted::NAMES), "no").fixed();
    /// Gives a command another name, or with an empty name takes it away.
    RENAME_COMMAND: [Vec<Bytes>] = row("rename-command", Kind::Statement { min_args: 2, max_args: 2 }, "").fixed();
    /// File with the users and their rules.
    ACLFILE: [u8] = row("aclfile", Kind::Text, "").fixed();
    /// A user and the rules that make it.
    USER: [Vec<Bytes>] = row("user", Kind::Statement { min_args: 1, max_args: usize::MAX }, "").fixed();
    /// Entries that ACL LOG keeps.
    ACLLOG_MAX_LEN: i64 = row("acllog-max-len", COUNT, "128");
    /// Channels that a new user may use.
    ACL_PUBSUB_DEFAULT: AclPubsubDefault = row("acl-pubsub-default", Kind::Choice(AclPubsubDefault::NAMES), "resetchannels");
}
