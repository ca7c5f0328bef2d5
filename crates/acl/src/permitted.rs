//! Which commands a selector permits: the compiled bits, and the rules they came from.

use crate::catalog::{Catalog, CommandId};
use crate::error::RuleError;

/// The commands of one selector.
///
/// The bits decide. The rules are kept beside them because ACL LIST shows what was said, without what a later rule has made
/// void: another rule about the same thing, or one about the whole command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PermittedCommands {
    bits: Box<[u64]>,
    /// Commands that are permitted only with one of these first arguments, by ascending id.
    first_arguments: Vec<(CommandId, Vec<Box<[u8]>>)>,
    /// `+@all`, or `-@all`, which every list of rules begins with.
    all: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    permits: bool,
    subject: Subject,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Command(CommandId),
    /// In lower case, without the `@`.
    Category(Box<[u8]>),
    FirstArgument(CommandId, Box<[u8]>),
}

impl PermittedCommands {
    /// All of so many commands, or none.
    pub fn new(count: usize, all: bool) -> PermittedCommands {
        let mut bits = vec![if all { u64::MAX } else { 0 }; count.div_ceil(64)].into_boxed_slice();
        if all && !count.is_multiple_of(64) {
            *bits.last_mut().expect("there are some") = (1 << (count % 64)) - 1;
        }
        PermittedCommands { bits, first_arguments: Vec::new(), all, rules: Vec::new() }
    }

    /// Whether the command may be called with these arguments, the command's name being the first.
    #[inline]
    pub fn permits(&self, id: CommandId, args: &[&[u8]]) -> bool {
        self.bit(id) || (!self.first_arguments.is_empty() && self.permits_first_argument(id, args))
    }

    #[cold]
    fn permits_first_argument(&self, id: CommandId, args: &[&[u8]]) -> bool {
        let (Some(first), Ok(at)) = (args.get(1), self.place_of_first_arguments(id)) else {
            return false;
        };
        self.first_arguments[at].1.iter().any(|known| known.eq_ignore_ascii_case(first))
    }

    /// Whether every command is permitted, by whatever rules.
    pub fn permits_all(&self, count: usize) -> bool {
        self.bits == PermittedCommands::new(count, true).bits
    }

    #[inline]
    fn bit(&self, id: CommandId) -> bool {
        self.bits[usize::from(id) / 64] >> (id % 64) & 1 != 0
    }

    fn set_bit(&mut self, id: CommandId, on: bool) {
        let (word, mask) = (&mut self.bits[usize::from(id) / 64], 1 << (id % 64));
        if on {
            *word |= mask
        } else {
            *word &= !mask
        }
        if let Ok(at) = self.place_of_first_arguments(id) {
            self.first_arguments.remove(at);
        }
    }

    fn place_of_first_arguments(&self, id: CommandId) -> Result<usize, usize> {
        self.first_arguments.binary_search_by_key(&id, |(id, _)| *id)
    }

    /// Applies a rule behind its `+` or `-`: `get`, `client|list`, `select|0`, `@read`.
    ///
    /// # Errors
    /// `UnknownCommand`, `Syntax`, `FirstArgumentOfSubcommand`; nothing has changed then.
    pub fn apply(&mut self, permits: bool, name: &[u8], catalog: &dyn Catalog) -> Result<(), RuleError> {
        if let Some(category) = name.strip_prefix(b"@") {
            return self.apply_category(permits, category, catalog);
        }
        if let Some(id) = catalog.find(name) {
            self.set_bit(id, permits);
            let subcommands = catalog.subcommands(id);
            subcommands.iter().for_each(|&sub| self.set_bit(sub, permits));
            self.rules.retain(|rule| match &rule.subject {
                Subject::Command(other) => *other != id && !subcommands.contains(other),
                Subject::FirstArgument(other, _) => *other != id,
                Subject::Category(_) => true,
            });
            self.rules.push(Rule { permits, subject: Subject::Command(id) });
            return Ok(());
        }
        match name.iter().rposition(|&byte| byte == b'|') {
            Some(bar) if permits => self.permit_first_argument(&name[..bar], &name[bar + 1..], catalog),
            _ => Err(RuleError::UnknownCommand),
        }
    }

    fn apply_category(&mut self, permits: bool, name: &[u8], catalog: &dyn Catalog) -> Result<(), RuleError> {
        if name.eq_ignore_ascii_case(b"all") {
            *self = PermittedCommands::new(catalog.count(), permits);
            return Ok(());
        }
        let members = catalog.category(name).ok_or(RuleError::UnknownCommand)?;
        members.into_iter().for_each(|id| self.set_bit(id, permits));
        let subject = Subject::Category(name.to_ascii_lowercase().into());
        self.rules.retain(|rule| rule.subject != subject);
        self.rules.push(Rule { permits, subject });
        Ok(())
    }

    /// `+select|0`: a command that has no subcommands, with one first argument.
    fn permit_first_argument(
        &mut self,
        command: &[u8],
        argument: &[u8],
        catalog: &dyn Catalog,
    ) -> Result<(), RuleError> {
        let id = catalog.find(command).ok_or(RuleError::UnknownCommand)?;
        if catalog.parent(id).is_some() {
            return Err(RuleError::FirstArgumentOfSubcommand);
        }
        // Redis 8.2 takes white space here, and cannot read or show afterwards what it took.
        if argument.is_empty() || argument.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(RuleError::Syntax);
        }
        if !catalog.subcommands(id).is_empty() {
            return Err(RuleError::UnknownCommand);
        }
        let argument: Box<[u8]> = argument.to_ascii_lowercase().into();
        let at = self.place_of_first_arguments(id).unwrap_or_else(|at| {
            self.first_arguments.insert(at, (id, Vec::new()));
            at
        });
        let known = &mut self.first_arguments[at].1;
        if !known.contains(&argument) {
            known.push(argument.clone());
        }
        let subject = Subject::FirstArgument(id, argument);
        self.rules.retain(|rule| rule.subject != subject);
        self.rules.push(Rule { permits: true, subject });
        Ok(())
    }

    /// The rules that make this, as ACL LIST shows them.
    pub fn describe(&self, catalog: &dyn Catalog, text: &mut Vec<u8>) {
        text.extend_from_slice(if self.all { b"+@all" } else { b"-@all" });
        for rule in &self.rules {
            text.push(b' ');
            text.push(if rule.permits { b'+' } else { b'-' });
            match &rule.subject {
                Subject::Command(id) => text.extend_from_slice(catalog.name(*id).as_bytes()),
                Subject::Category(name) => {
                    text.push(b'@');
                    text.extend_from_slice(name);
                }
                Subject::FirstArgument(id, argument) => {
                    text.extend_from_slice(catalog.name(*id).as_bytes());
                    text.push(b'|');
                    text.extend_from_slice(argument);
                }
            }
        }
    }
}
