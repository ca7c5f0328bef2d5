//! What can be wrong with a rule.

use std::fmt;

/// Why a rule was not applied. Displayed as Redis says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    UnknownCommand,
    Syntax,
    UnknownPassword,
    MalformedHash,
    /// A pattern of keys behind one for all keys.
    KeysBehindAll,
    /// The same of channels.
    ChannelsBehindAll,
    FirstArgumentOfSubcommand,
    DatabaseOutOfRange,
}

impl fmt::Display for RuleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RuleError::UnknownCommand => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::UnknownPassword => "The password you are trying to remove from the user does not exist",
            RuleError::MalformedHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::KeysBehindAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
                 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::ChannelsBehindAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try \
                 'resetchannels' to start with an empty list of channels"
            }
            RuleError::FirstArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            RuleError::DatabaseOutOfRange => "The provided database ID is out of range",
        })
    }
}

impl std::error::Error for RuleError {}
