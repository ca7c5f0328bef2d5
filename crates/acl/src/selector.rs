//! A set of permissions that hold together: of commands, keys, channels and databases.

use crate::catalog::{Catalog, CommandId};
use crate::databases::Databases;
use crate::denial::{Denial, Request, Touched};
use crate::error::RuleError;
use crate::patterns::{ChannelPatterns, KeyPatterns};
use crate::permitted::PermittedCommands;
use crate::words;

/// One selector. A user has a root selector, and any number of others; a request must find all it needs in one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    commands: PermittedCommands,
    keys: KeyPatterns,
    channels: ChannelPatterns,
    databases: Databases,
}

impl Selector {
    /// Nothing but, by `acl-pubsub-default`, all channels. Databases are restricted only where a rule says so.
    pub fn nothing(catalog: &dyn Catalog, all_channels: bool) -> Selector {
        Selector {
            commands: PermittedCommands::new(catalog.count(), false),
            keys: KeyPatterns::default(),
            channels: if all_channels { ChannelPatterns::everything() } else { ChannelPatterns::default() },
            databases: Databases::All,
        }
    }

    pub fn everything(catalog: &dyn Catalog) -> Selector {
        Selector {
            commands: PermittedCommands::new(catalog.count(), true),
            keys: KeyPatterns::everything(),
            channels: ChannelPatterns::everything(),
            databases: Databases::All,
        }
    }

    /// Applies one rule about commands, keys, channels or databases.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub fn apply(&mut self, rule: &[u8], catalog: &dyn Catalog) -> Result<(), RuleError> {
        match rule {
            [b'+', name @ ..] => return self.commands.apply(true, name, catalog),
            [b'-', name @ ..] => return self.commands.apply(false, name, catalog),
            [b'~', pattern @ ..] => return self.keys.add(Touched::READ | Touched::WRITE, pattern),
            [b'&', pattern @ ..] => return self.channels.add(pattern),
            [b'%', rest @ ..] => return self.apply_partial_keys(rest),
            _ => {}
        }
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"allcommands" => self.commands.apply(true, b"@all", catalog)?,
            b"nocommands" => self.commands.apply(false, b"@all", catalog)?,
            b"allkeys" => self.keys = KeyPatterns::everything(),
            b"resetkeys" => self.keys = KeyPatterns::default(),
            b"allchannels" => self.channels = ChannelPatterns::everything(),
            b"resetchannels" => self.channels = ChannelPatterns::default(),
            b"alldbs" => self.databases = Databases::All,
            b"resetdbs" => self.databases = Databases::Some(Default::default()),
            [b'd', b'b', b'=', ..] => self.databases.set(&rule[b"db=".len()..])?,
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    /// `%R~pattern`, `%W~pattern`, `%RW~pattern`.
    fn apply_partial_keys(&mut self, rest: &[u8]) -> Result<(), RuleError> {
        if self.keys.all {
            return Err(RuleError::KeysBehindAll);
        }
        let mut permits = Touched::HEARD_OF;
        // Without its `~`, `%R` is the empty pattern: observed in Redis 8.2.
        let mut pattern: &[u8] = b"";
        for (position, byte) in rest.iter().enumerate() {
            let more = match byte {
                b'R' | b'r' => Touched::READ,
                b'W' | b'w' => Touched::WRITE,
                b'~' if permits != Touched::HEARD_OF => {
                    pattern = &rest[position + 1..];
                    break;
                }
                _ => return Err(RuleError::Syntax),
            };
            if permits.contains(more) {
                return Err(RuleError::Syntax);
            }
            permits = permits | more;
        }
        if permits == Touched::HEARD_OF {
            return Err(RuleError::Syntax);
        }
        self.keys.add(permits, pattern)
    }

    /// The selector that a rule in parentheses makes.
    ///
    /// # Errors
    /// What is wrong with one of its rules.
    pub(crate) fn of_rule(rule: &[u8], all_channels: bool, catalog: &dyn Catalog) -> Result<Selector, RuleError> {
        let inner = rule.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")")).ok_or(RuleError::Syntax)?;
        let mut selector = Selector::nothing(catalog, all_channels);
        for rule in words::rules_within(inner) {
            // Redis 8.2 takes `(~a))` for a selector with the pattern `a)`, and cannot read the file that it saves then.
            if rule.ends_with(b")") {
                return Err(RuleError::Syntax);
            }
            selector.apply(&rule, catalog)?;
        }
        Ok(selector)
    }

    /// Whether every request passes.
    pub fn is_everything(&self, catalog: &dyn Catalog) -> bool {
        self.commands.permits_all(catalog.count())
            && self.keys.all
            && self.channels.all
            && self.databases == Databases::All
    }

    /// Whether this command may do whatever it does with its keys, channels and databases, so that nobody has to find them.
    #[inline]
    pub(crate) fn permits_at_once(&self, command: CommandId, args: &[&[u8]]) -> bool {
        self.keys.all && self.channels.all && self.databases == Databases::All && self.commands.permits(command, args)
    }

    /// Whether the request passes.
    ///
    /// # Errors
    /// The first thing that is not permitted: databases, then the command, keys, channels.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Denial> {
        self.check_databases(request)?;
        if !self.commands.permits(request.command, request.args) {
            return Err(Denial::Command);
        }
        if !self.keys.all {
            let is_denied = |key: &&crate::KeyUse| !self.keys.permit(request.args[key.index], key.touched);
            if let Some(key) = request.keys.iter().find(is_denied) {
                return Err(Denial::Key(key.index));
            }
        }
        if !self.channels.all {
            let is_denied =
                |channel: &&crate::ChannelUse| !self.channels.permit(request.args[channel.index], channel.is_pattern);
            if let Some(channel) = request.channels.iter().find(is_denied) {
                return Err(Denial::Channel(channel.index));
            }
        }
        Ok(())
    }

    #[inline]
    fn check_databases(&self, request: &Request<'_>) -> Result<(), Denial> {
        if self.databases == Databases::All {
            return Ok(());
        }
        if let Some((index, _)) = request.databases_named.iter().find(|(_, named)| !self.databases.permit(*named)) {
            return Err(Denial::Database(*index));
        }
        let all = request.databases_all.map_or(0..0, |count| 0..count);
        if request.database.into_iter().chain(all).all(|database| self.databases.permit(database)) {
            Ok(())
        } else {
            Err(Denial::Database(0))
        }
    }

    /// Whether the request passes, and every key there is may be touched like that: SORT reads keys that its arguments do not name.
    pub fn permits_with_every_key(&self, request: &Request<'_>, touched: Touched) -> bool {
        self.keys.permit_every_key(touched) && self.check(request).is_ok()
    }

    /// Whether it permits to receive from this channel, or from what this pattern matches.
    pub fn permits_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.channels.permit(name, is_pattern)
    }

    pub(crate) fn channels(&self) -> &ChannelPatterns {
        &self.channels
    }

    /// The rules about commands, as ACL GETUSER shows them.
    pub fn describe_commands(&self, catalog: &dyn Catalog) -> Vec<u8> {
        let mut text = Vec::new();
        self.commands.describe(catalog, &mut text);
        text
    }

    /// The patterns of keys, as ACL GETUSER shows them.
    pub fn describe_keys(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.keys.describe(&mut text);
        text
    }

    /// The patterns of channels, as ACL GETUSER shows them.
    pub fn describe_channels(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.channels.describe(&mut text);
        text
    }

    pub fn databases(&self) -> &Databases {
        &self.databases
    }

    /// All of it in one line, from which the same selector can be made.
    pub fn describe(&self, catalog: &dyn Catalog, text: &mut Vec<u8>) {
        let keys = self.describe_keys();
        if !keys.is_empty() {
            text.extend(keys);
            text.push(b' ');
        }
        if !self.channels.all {
            text.extend_from_slice(b"resetchannels ");
        }
        if !self.channels.is_empty() {
            self.channels.describe(text);
            text.push(b' ');
        }
        // Redis knows no such rules: it can read what has none.
        if self.databases != Databases::All {
            self.databases.describe(text);
            text.push(b' ');
        }
        self.commands.describe(catalog, text);
    }
}
