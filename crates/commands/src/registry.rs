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

/// Short names, found by one multiplication: nearly all that are called often. Looked for from where their hash points to, up to an
/// empty place.
struct ShortNames(Box<[ShortName; SHORT_PLACES]>);

#[derive(Clone, Copy, Default)]
struct ShortName {
    /// Its bytes, in lower case.
    word: u64,
    /// 0 where the place is empty.
    len: u8,
    id: u16,
}

/// The longest name that is one word of memory.
const SHORT_BYTES_MAX: usize = size_of::<u64>();
/// A power of two, several times as many as there are names.
const SHORT_PLACES: usize = 1024;

impl ShortNames {
    fn new(names: &HashMap<Vec<u8>, u16, foldhash::fast::FixedState>) -> ShortNames {
        let mut places = Box::new([ShortName::default(); SHORT_PLACES]);
        for (name, &id) in names {
            if let Some(word) = short_word(name) {
                let mut place = first_place(word);
                while places[place].len > 0 {
                    place = (place + 1) % SHORT_PLACES;
                }
                places[place] = ShortName { word, len: name.len() as u8, id };
            }
        }
        ShortNames(places)
    }

    #[inline]
    fn find(&self, word: u64, len: usize) -> Option<u16> {
        let mut place = first_place(word);
        loop {
            let short = self.0[place];
            if short.len == 0 {
                return None;
            }
            if short.word == word && usize::from(short.len) == len {
                return Some(short.id);
            }
            place = (place + 1) % SHORT_PLACES;
        }
    }
}

#[inline]
fn first_place(word: u64) -> usize {
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % SHORT_PLACES
}

/// A short name as one word, in lower case; different names of one length have different words.
#[inline]
fn short_word(name: &[u8]) -> Option<u64> {
    let word = match *name {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        [a, b, c, d, ..] if name.len() <= SHORT_BYTES_MAX => {
            // The last four overlap with the first.
            let [.., e, f, g, h] = *name else { unreachable!("there are four") };
            let (first, last) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
            u64::from(first) | u64::from(last) << ((name.len() - 4) * 8)
        }
        _ => return None,
    };
    Some(lower_case(word))
}

/// Eight letters at once. Carries never leave a byte, since the highest bits are put aside.
#[inline]
fn lower_case(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let low = word & !HIGH;
    let from_a = low + (0x80 - u64::from(b'A')) * ONES;
    let beyond_z = low + (0x7f - u64::from(b'Z')) * ONES;
    let is_upper = (from_a ^ beyond_z) & !word & HIGH;
    word | is_upper >> 2
}

/// The commands of a server. `rename-command` makes names differ from the specs'; it does not change after the start.
pub struct Registry {
    commands: Vec<Command>,
    by_name: HashMap<Vec<u8>, u16, foldhash::fast::FixedState>,
    /// The short ones of these.
    short: ShortNames,
}

impl Default for Registry {
    fn default() -> Registry {
        let by_name = HashMap::default();
        let short = ShortNames::new(&by_name);
        let mut registry = Registry { commands: Vec::new(), by_name, short };
        for &spec in GROUPS.iter().copied().flatten() {
            let id = registry.add(spec, None);
            let known = registry.by_name.insert(spec.name.as_bytes().to_vec(), id);
            assert!(known.is_none(), "two commands are called {}", spec.name);
        }
        registry.short = ShortNames::new(&registry.by_name);
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
        let replaced = if to.is_empty() { None } else { self.by_name.insert(to.to_ascii_lowercase(), id) };
        self.short = ShortNames::new(&self.by_name);
        match replaced {
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
        if let Some(word) = short_word(name) {
            return self.short.find(word, name.len()).map(|id| self.by_id(id));
        }
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

    /// Short names are found as long ones are, whatever their case, and nothing else is.
    #[test]
    fn every_name_is_found_and_no_other() {
        let registry = Registry::default();
        for (name, &id) in &registry.by_name {
            let upper = name.to_ascii_uppercase();
            let mixed: Vec<u8> = name
                .iter()
                .zip(&upper)
                .enumerate()
                .map(|(at, (low, up))| if at % 2 == 0 { *up } else { *low })
                .collect();
            for spelled in [name, &upper, &mixed] {
                assert_eq!(registry.find(spelled).map(|command| command.id), Some(id));
            }
            for at in 0..name.len() {
                for byte in 0..=u8::MAX {
                    let mut other = name.clone();
                    other[at] = byte;
                    let known = registry.by_name.get(&other.to_ascii_lowercase()).copied();
                    assert_eq!(registry.find(&other).map(|command| command.id), known, "{other:?}");
                }
            }
            let longer = [&name[..], b"\0"].concat();
            assert!(registry.find(&longer).is_none());
        }
        assert!(registry.find(b"").is_none());
    }

    #[test]
    fn a_renamed_command_is_found_by_its_new_name_alone() {
        let mut registry = Registry::default();
        registry.rename(b"GET", b"Fetch").unwrap();
        registry.rename(b"set", b"").unwrap();
        assert_eq!(registry.find(b"fetch").unwrap().spec.name, "get");
        assert!(registry.find(b"get").is_none() && registry.find(b"SET").is_none());
    }

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
