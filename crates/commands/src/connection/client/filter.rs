//! The filters of CLIENT LIST and CLIENT KILL: Redis's, and those that Valkey adds, each of which can be negated by `NOT-`.

use std::sync::atomic::Ordering::Relaxed;

use keyspace::Millis;

use super::capa::Capability;
use super::list::{age_seconds, idle_seconds, letters};
use crate::client::{Client, ClientFlags};
use crate::context::Ctx;
use crate::error::Error;
use crate::global::Global;

/// The two commands differ in a few errors, and in whom they spare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    List,
    Kill,
}

/// All that a client must be, and must not be.
pub(super) struct Filter<'a> {
    tests: Vec<(Sense, Test<'a>)>,
    skip_me: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    Is,
    IsNot,
}

#[derive(Debug, PartialEq, Eq)]
enum Test<'a> {
    /// Any of these.
    Id(Vec<i64>),
    Type(ClientType),
    User(&'a [u8]),
    Address(&'a [u8]),
    LocalAddress(&'a [u8]),
    /// Connected for at least so many seconds.
    MaxAge(i64),
    /// Without a command for at least so many seconds.
    Idle(i64),
    Name(&'a [u8]),
    /// All of these letters.
    Flags(&'a [u8]),
    LibraryName(&'a [u8]),
    LibraryVersion(&'a [u8]),
    Db(u32),
    /// All of these bits.
    Capabilities(u32),
    Ip(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientType {
    Normal,
    Primary,
    Replica,
    PubSub,
}

/// Letters that `FLAGS` knows, whether or not a client can have them here.
const FLAG_LETTERS: &[u8] = b"ABEIMNOPRSTUbcdeirtux";

impl<'a> Filter<'a> {
    /// Reads the options behind `CLIENT LIST` or `CLIENT KILL`. Each is judged as it comes; of two of a kind the last decides,
    /// but ids add up.
    ///
    /// # Errors
    /// The texts of the server that has the filter: Redis 8.2, or Valkey 9.1 for what only Valkey has.
    pub fn parse(cx: &Ctx<'a>, dialect: Dialect) -> Result<Filter<'a>, Error> {
        let options = &cx.args[2..];
        let filter = Filter::parse_options(options, dialect, cx.global());
        match (dialect, options, filter) {
            // Redis takes nothing but ids behind a first `ID`, and says so whatever stands there instead.
            (Dialect::List, [first, _, ..], Err(Error::Syntax)) if first.eq_ignore_ascii_case(b"ID") => {
                Err(Error::text("ERR Invalid client ID"))
            }
            // It counts the words before it looks at the type.
            (Dialect::List, [first, _, _], Err(_)) if first.eq_ignore_ascii_case(b"TYPE") => Err(Error::Syntax),
            (_, _, filter) => filter,
        }
    }

    fn parse_options(options: &[&'a [u8]], dialect: Dialect, global: &Global) -> Result<Filter<'a>, Error> {
        let mut filter = Filter { tests: Vec::new(), skip_me: dialect == Dialect::Kill };
        let mut rest = options;
        while let [option, behind @ ..] = rest {
            let option = option.to_ascii_uppercase();
            let (value, behind) = behind.split_first().ok_or(Error::Syntax)?;
            rest = behind;
            if option == b"SKIPME" {
                filter.skip_me = yes_or_no(value)?;
                continue;
            }
            let (sense, kind) = match option.strip_prefix(b"NOT-") {
                None => (Sense::Is, option.as_slice()),
                Some(kind) => (Sense::IsNot, kind),
            };
            if kind == b"ID" {
                let mut ids = vec![client_id(value, sense, dialect)?];
                while let Some((more, behind)) = rest.split_first()
                    && resp::number::parse_i64(more).is_some()
                {
                    ids.push(client_id(more, sense, dialect)?);
                    rest = behind;
                }
                filter.add(sense, Test::Id(ids));
            } else {
                filter.add(sense, Test::parse(kind, sense, value, global)?);
            }
        }
        Ok(filter)
    }

    fn add(&mut self, sense: Sense, test: Test<'a>) {
        let same_kind = |(before_sense, before): &(Sense, Test<'_>)| {
            *before_sense == sense && std::mem::discriminant(before) == std::mem::discriminant(&test)
        };
        let Some(index) = self.tests.iter().position(same_kind) else {
            self.tests.push((sense, test));
            return;
        };
        match (&mut self.tests[index].1, test) {
            (Test::Id(before), Test::Id(more)) => before.extend(more),
            (before, test) => *before = test,
        }
    }

    pub fn matches(&self, client: &Client, own_id: u64, now: Millis) -> bool {
        !(self.skip_me && client.id == own_id)
            && self.tests.iter().all(|(sense, test)| test.holds(client, now) == (*sense == Sense::Is))
    }
}

impl<'a> Test<'a> {
    /// All but `ID`, which takes more than one value.
    fn parse(kind: &[u8], sense: Sense, value: &'a [u8], global: &Global) -> Result<Test<'a>, Error> {
        Ok(match (kind, sense) {
            (b"TYPE", _) => Test::Type(ClientType::parse(value)?),
            (b"USER", _) if global.access.users().get(value).is_some() => Test::User(value),
            (b"USER", _) => return Err(Error::quoting("ERR No such user '", value, "'")),
            (b"ADDR", _) => Test::Address(value),
            (b"LADDR", _) => Test::LocalAddress(value),
            (b"MAXAGE", Sense::Is) => Test::MaxAge(seconds(value, "maxage")?),
            (b"IDLE", Sense::Is) => Test::Idle(seconds(value, "idle")?),
            (b"NAME", _) => Test::Name(value),
            (b"FLAGS", _) => match value.iter().all(|letter| FLAG_LETTERS.contains(letter)) {
                true => Test::Flags(value),
                false => return Err(unknown_letters("flags", "NOT-FLAGS", sense, value)),
            },
            (b"LIB-NAME", _) => Test::LibraryName(value),
            (b"LIB-VER", _) => Test::LibraryVersion(value),
            (b"DB", _) => Test::Db(database(value, sense, global.settings.databases)?),
            (b"CAPA", _) => {
                let bit = |letter: &u8| Some(Capability::ALL.iter().find(|known| known.letter == *letter)?.bit);
                match value.iter().try_fold(0, |bits, letter| Some(bits | bit(letter)?)) {
                    Some(bits) => Test::Capabilities(bits),
                    None => return Err(unknown_letters("capa", "NOT-CAPA", sense, value)),
                }
            }
            (b"IP", _) => Test::Ip(value),
            _ => return Err(Error::Syntax),
        })
    }

    fn holds(&self, client: &Client, now: Millis) -> bool {
        // A client without a name has none that could be asked for, not even the empty one.
        let named = |name: &[u8], wanted: &[u8]| !name.is_empty() && name == wanted;
        match self {
            Test::Id(ids) => ids.contains(&(client.id as i64)),
            Test::Type(wanted) => ClientType::of(client) == *wanted,
            Test::User(user) => client.text.lock().user == *user,
            Test::Address(address) => client.address.as_bytes() == *address,
            Test::LocalAddress(address) => client.local_address.as_bytes() == *address,
            Test::MaxAge(seconds) => age_seconds(client, now) >= *seconds,
            Test::Idle(seconds) => idle_seconds(client, now) >= *seconds,
            Test::Name(name) => named(&client.text.lock().name, name),
            Test::Flags(wanted) => {
                let letters = letters(client);
                wanted.iter().all(|letter| letters.as_bytes().contains(letter))
            }
            Test::LibraryName(name) => named(&client.text.lock().library_name, name),
            Test::LibraryVersion(version) => named(&client.text.lock().library_version, version),
            Test::Db(index) => client.db.load(Relaxed) == *index,
            Test::Capabilities(bits) => client.capabilities.load(Relaxed) & bits == *bits,
            Test::Ip(ip) => host(&client.address).as_bytes() == *ip,
        }
    }
}

impl ClientType {
    fn parse(name: &[u8]) -> Result<ClientType, Error> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(ClientType::Normal),
            b"master" | b"primary" => Ok(ClientType::Primary),
            b"slave" | b"replica" => Ok(ClientType::Replica),
            b"pubsub" => Ok(ClientType::PubSub),
            _ => Err(Error::quoting("ERR Unknown client type '", name, "'")),
        }
    }

    fn of(client: &Client) -> ClientType {
        match client.flags() {
            flags if flags.contains(ClientFlags::PRIMARY) => ClientType::Primary,
            flags if flags.contains(ClientFlags::REPLICA) => ClientType::Replica,
            flags if flags.contains(ClientFlags::PUBSUB) => ClientType::PubSub,
            _ => ClientType::Normal,
        }
    }
}

/// An address without its port: `::1` of `[::1]:6379`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn yes_or_no(value: &[u8]) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(Error::Syntax),
    }
}

fn client_id(value: &[u8], sense: Sense, dialect: Dialect) -> Result<i64, Error> {
    match (resp::number::parse_i64(value), sense, dialect) {
        // Redis lets LIST ask for ids that cannot exist.
        (Some(id), Sense::Is, Dialect::List) => Ok(id),
        (Some(id), _, _) if id > 0 => Ok(id),
        (Some(_), _, _) | (None, Sense::Is, Dialect::Kill) => {
            Err(Error::text("ERR client-id should be greater than 0"))
        }
        (None, _, _) => Err(Error::Syntax),
    }
}

fn seconds(value: &[u8], what: &str) -> Result<i64, Error> {
    match resp::number::parse_i64(value) {
        Some(seconds) if seconds > 0 => Ok(seconds),
        Some(_) => Err(Error::string(format!("ERR {what} should be greater than 0"))),
        None => Err(Error::string(format!("ERR {what} is not an integer or out of range"))),
    }
}

fn database(value: &[u8], sense: Sense, databases: u32) -> Result<u32, Error> {
    let name = if sense == Sense::Is { "DB" } else { "NOT-DB" };
    let number = resp::number::parse_i64(value).and_then(|number| i32::try_from(number).ok());
    let Some(number) = number else {
        return Err(Error::string(format!("ERR {name} is not an integer or out of range")));
    };
    match u32::try_from(number) {
        Ok(number) if number < databases => Ok(number),
        _ => Err(Error::string(format!("ERR {name} number should be between 0 and {}", databases - 1))),
    }
}

fn unknown_letters(what: &str, negated_option: &str, sense: Sense, value: &[u8]) -> Error {
    let place = if sense == Sense::Is { "provided" } else { negated_option };
    Error::quoting(&format!("ERR Unknown {what} found in the {place} filter: "), value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Place;
    use crate::testing::Rig;

    fn parse(line: &'static str, dialect: Dialect) -> Result<Filter<'static>, Error> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Filter::parse_options(&words, dialect, &Rig::new().world.global)
    }

    fn client() -> Client {
        let client =
            Client::new(18, Place { thread: 0, token: 0 }, "[::1]:5000".into(), "[::1]:6379".into(), 8, Millis(1000));
        client.set_flag(ClientFlags::NO_EVICT, true);
        client.db.store(3, Relaxed);
        client.text.lock().library_name = b"jedis".to_vec();
        client
    }

    #[test]
    fn what_a_filter_lets_through() {
        let client = client();
        let matches = |line| parse(line, Dialect::List).unwrap().matches(&client, 18, Millis(3500));
        for line in [
            "ID 18",
            "ID 7 18",
            "ID 7 ID 18",
            "NOT-ID 7",
            "TYPE normal",
            "NOT-TYPE pubsub",
            "USER default",
            "MAXAGE 2",
            "IDLE 2",
            "ADDR [::1]:5000",
            "LADDR [::1]:6379",
            "IP ::1",
            "NOT-IP 127.0.0.1",
            "FLAGS e",
            "FLAGS ee",
            "NOT-FLAGS eT",
            "NOT-FLAGS N",
            "DB 3",
            "NOT-DB 0",
            "LIB-NAME jedis",
            "NOT-LIB-VER 1",
            "NOT-NAME x",
            "NOT-CAPA r",
            "SKIPME no",
            "DB 0 DB 3",
        ] {
            assert!(matches(line), "{line}");
        }
        for line in [
            "ID 7",
            "NOT-ID 7 18",
            "NOT-ID 18 NOT-ID 7",
            "TYPE pubsub",
            "NOT-USER default",
            "MAXAGE 3",
            "IDLE 3",
            "IP [::1]",
            "FLAGS eT",
            "FLAGS N",
            "NOT-FLAGS e",
            "DB 0",
            "NAME x",
            "CAPA r",
            "SKIPME yes",
            "LIB-NAME jedis ID 7",
        ] {
            assert!(!matches(line), "{line}");
        }
    }

    #[test]
    fn links_of_replication_have_types_of_their_own() {
        for (flag, names, letter) in
            [(ClientFlags::REPLICA, ["replica", "slave"], b'S'), (ClientFlags::PRIMARY, ["master", "primary"], b'M')]
        {
            let client = client();
            client.set_flag(flag, true);
            client.set_flag(ClientFlags::PUBSUB, true);
            for name in names {
                assert_eq!(ClientType::parse(name.as_bytes()), Ok(ClientType::of(&client)));
            }
            assert_eq!(letters(&client).as_bytes(), [letter, b'P', b'e']);
        }
    }

    #[test]
    fn what_is_no_filter() {
        let error = |line, dialect| {
            parse(line, dialect).err().map(|error| String::from_utf8(error.render().into_owned()).unwrap())
        };
        let both = |line| {
            let list = error(line, Dialect::List);
            assert_eq!(list, error(line, Dialect::Kill), "{line}");
            list.unwrap_or_default()
        };
        for line in [
            "ADDR",
            "FOO bar",
            "ADDR foo FOO bar",
            "SKIPME maybe",
            "NOT-ID x",
            "NOT-IDLE 5",
            "NOT-MAXAGE 5",
            "NOT-SKIPME no",
        ] {
            assert_eq!(both(line), "ERR syntax error", "{line}");
        }
        assert_eq!(both("TYPE foo"), "ERR Unknown client type 'foo'");
        assert_eq!(both("USER foo"), "ERR No such user 'foo'");
        assert_eq!(both("MAXAGE x"), "ERR maxage is not an integer or out of range");
        assert_eq!(both("IDLE 0"), "ERR idle should be greater than 0");
        assert_eq!(both("FLAGS NZ"), "ERR Unknown flags found in the provided filter: NZ");
        assert_eq!(both("NOT-CAPA x"), "ERR Unknown capa found in the NOT-CAPA filter: x");
        assert_eq!(both("DB x"), "ERR DB is not an integer or out of range");
        assert_eq!(both("NOT-DB 16"), "ERR NOT-DB number should be between 0 and 15");
        assert_eq!(both("NOT-ID 0"), "ERR client-id should be greater than 0");
        assert_eq!(error("ID 0", Dialect::List), None);
        assert_eq!(error("ID x", Dialect::Kill).unwrap(), "ERR client-id should be greater than 0");
        assert_eq!(error("ID 999 x", Dialect::Kill).unwrap(), "ERR syntax error");
    }
}
