//! All commands by name. The registry only lists what the groups' `SPECS` declare; everything about a command is in its
//! own file.

use std::collections::HashMap;

use crate::error::{Error, shown};
use crate::keys::KeyPlan;
use crate::spec::{Flags, Spec};
use crate::{
    bitmap, cluster, connection, generic, geo, hash, hyperloglog, list, pubsub, scripting, server, set, sorted_set,
    stream, string, transactions,
};

/// A spec in its place: with an id that counters are indexed by, and its full name.
pub struct Command {
    pub id: u16,
    pub spec: &'static Spec,
    /// `get`, or `client|list` of a subcommand.
    pub full_name: String,
    pub parent: Option<u16>,
    pub plan: KeyPlan,
    subcommands: HashMap<&'static [u8], u16>,
}

impl Command {
    /// Flags as COMMAND INFO shows them, with those that follow from the key specifications.
    pub fn flags(&self) -> Flags {
        self.spec.flags | if self.plan == KeyPlan::Search { Flags::MOVABLEKEYS } else { Flags::empty() }
    }

    /// Whether it is nothing but its subcommands.
    pub fn is_container(&self) -> bool {
        !self.subcommands.is_empty()
    }
}

/// Every group's commands. Later groups add their line.
pub const GROUPS: &[&[&Spec]] = &[
    connection::SPECS,
    generic::SPECS,
    string::SPECS,
    server::SPECS,
    list::SPECS,
    set::SPECS,
    hash::SPECS,
    sorted_set::SPECS,
    stream::SPECS,
    bitmap::SPECS,
    hyperloglog::SPECS,
    geo::SPECS,
    transactions::SPECS,
    pubsub::SPECS,
    scripting::SPECS,
    cluster::SPECS,
];

/// What the request before called, and by which name.
#[derive(Default)]
pub struct LastCalled<'r, 'a>(Option<(&'a [u8], &'r Command)>);

/// The longest command name that is looked up; longer ones are unknown.
const NAME_BYTES_MAX: usize = 64;

/// The commands of a server. `rename-command` makes names differ from the specs'; it does not change after the start.
pub struct Registry {
    commands: Vec<Command>,
    by_name: HashMap<Vec<u8>, u16, foldhash::fast::FixedState>,
}

impl Default for Registry {
    fn default() -> Registry {
        let mut registry = Registry { commands: Vec::new(), by_name: HashMap::default() };
        for &spec in GROUPS.iter().copied().flatten() {
            let id = registry.add(spec, None);
            let known = registry.by_name.insert(spec.name.as_bytes().to_vec(), id);
            assert!(known.is_none(), "two commands are called {}", spec.name);
        }
        registry
    }
}

impl Registry {
    fn add(&mut self, spec: &'static Spec, parent: Option<u16>) -> u16 {
        let id = self.commands.len() as u16;
        let full_name = match parent {
            None => spec.name.to_owned(),
            Some(parent) => format!("{}|{}", self.commands[parent as usize].full_name, spec.name),
        };
        let plan = KeyPlan::of(spec);
        self.commands.push(Command { id, spec, full_name, parent, plan, subcommands: HashMap::new() });
        let subcommands = spec.subcommands.iter().map(|sub| (sub.name.as_bytes(), self.add(sub, Some(id)))).collect();
        self.commands[id as usize].subcommands = subcommands;
        id
    }

    /// Applies `rename-command`: `to` empty takes the command away.
    ///
    /// # Errors
    /// When there is no such command, or the new name is taken.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), &'static str> {
        let Some(id) = self.by_name.remove(&from.to_ascii_lowercase()) else {
            return Err("No such command in rename-command");
        };
        if to.is_empty() {
            return Ok(());
        }
        match self.by_name.insert(to.to_ascii_lowercase(), id) {
            None => Ok(()),
            Some(_) => Err("Target command name already exists"),
        }
    }

    /// The command of this id.
    pub fn by_id(&self, id: u16) -> &Command {
        &self.commands[id as usize]
    }

    /// All commands and subcommands, by id.
    pub fn all(&self) -> &[Command] {
        &self.commands
    }

    /// The top-level commands that can be called, whatever they are called now, in no order.
    pub fn callable(&self) -> impl Iterator<Item = &Command> {
        self.by_name.values().map(|&id| self.by_id(id))
    }

    /// A top-level command by its name, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Command> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower).map(|&id| self.by_id(id))
    }

    /// A subcommand of this command by its name, in any case.
    pub fn find_sub(&self, command: &Command, name: &[u8]) -> Option<&Command> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        command.subcommands.get(&*lower).map(|&id| self.by_id(id))
    }

    /// The command or subcommand that these arguments call.
    ///
    /// # Errors
    /// Unknown command, unknown subcommand, wrong number of arguments: in this order, as Redis does.
    #[inline]
    pub fn resolve(&self, args: &[&[u8]]) -> Result<&Command, Error> {
        let command = self.find(args[0]).ok_or_else(|| unknown_command(args))?;
        self.resolve_within(command, args)
    }

    /// The same for one request of many: most call what the one before called.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    #[inline]
    pub fn resolve_next<'r, 'a>(
        &'r self,
        args: &[&'a [u8]],
        last: &mut LastCalled<'r, 'a>,
    ) -> Result<&'r Command, Error> {
        let command = match last.0 {
            Some((name, command)) if name == args[0] => command,
            _ => {
                let command = self.find(args[0]).ok_or_else(|| unknown_command(args))?;
                last.0 = Some((args[0], command));
                command
            }
        };
        self.resolve_within(command, args)
    }

    #[inline]
    fn resolve_within<'r>(&'r self, command: &'r Command, args: &[&[u8]]) -> Result<&'r Command, Error> {
        let command = if command.is_container() && args.len() >= 2 {
            self.find_sub(command, args[1]).ok_or_else(|| Error::UnknownSubcommand {
                command: String::from_utf8_lossy(args[0]).into_owned(),
                subcommand: args[1].to_vec(),
            })?
        } else {
            command
        };
        if !command.spec.accepts(args.len()) || command.spec.run.is_none() {
            return Err(Error::Arity(command.full_name.clone().into()));
        }
        Ok(command)
    }

    /// The command that arguments name, also where [`Self::resolve`] refuses them for their number.
    #[cold]
    pub fn called(&self, args: &[&[u8]]) -> Option<&Command> {
        let command = self.find(args[0])?;
        if command.is_container() && args.len() >= 2 { self.find_sub(command, args[1]) } else { Some(command) }
    }

    /// `client|list` and `get`, for COMMAND INFO and its kin.
    pub fn find_full(&self, name: &[u8]) -> Option<&Command> {
        match name.iter().position(|&byte| byte == b'|') {
            None => self.find(name),
            Some(bar) => self.find_sub(self.find(&name[..bar])?, &name[bar + 1..]),
        }
    }
}

/// The text shows the beginning of the command: 128 bytes of each of its parts, and of all arguments together.
#[cold]
fn unknown_command(args: &[&[u8]]) -> Error {
    let beginning = |arg: &[u8], bytes_max: usize| shown(arg).iter().copied().take(bytes_max).collect::<Vec<u8>>();
    let mut text = b"ERR unknown command '".to_vec();
    text.extend(beginning(args[0], 128));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut listed = Vec::new();
    for arg in &args[1..] {
        if listed.len() >= 128 {
            break;
        }
        listed.push(b'\'');
        listed.extend(beginning(arg, 128 - (listed.len() - 1)));
        listed.extend_from_slice(b"' ");
    }
    text.extend(listed);
    Error::Bytes(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the request before called is not mistaken for what this one calls, whatever its subcommand, case and arguments.
    #[test]
    fn the_next_request_is_resolved_as_if_it_were_the_first() {
        let registry = Registry::default();
        let requests: &[&[&[u8]]] = &[
            &[b"get", b"a"],
            &[b"get", b"a"],
            &[b"GET", b"a"],
            &[b"get"],
            &[b"getx", b"a"],
            &[b"get", b"a"],
            &[b"client", b"id"],
            &[b"client", b"getname"],
            &[b"client", b"nothing"],
            &[b"client"],
        ];
        let mut last = LastCalled::default();
        for args in requests {
            let name = |found: Result<&Command, Error>| match found {
                Ok(command) => command.full_name.clone().into_bytes(),
                Err(error) => error.render().into_owned(),
            };
            assert_eq!(name(registry.resolve_next(args, &mut last)), name(registry.resolve(args)));
        }
    }
}
