//! MONITOR: every command, as it is executed, for whoever listens.
//!
//! A line is left with all monitors before the access ends that has executed the command, and under one lock, so that all monitors see
//! one order. *Is it an order in which the commands could have been executed?* Commands whose order matters have a key in common, or one of them
//! is alone in the world; their accesses do not overlap, so neither do their lines. So monitors need not make anybody run wide.
//!
//! A client's own line comes behind its reply, a script's before those of its commands, EXEC's behind what it has executed, all as
//! observed in Redis 8.2. What is not shown: what was refused, commands with the flag `admin`, and what a blocked client does when it wakes.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use config::words::quote_into;
use keyspace::DbIndex;
use parking_lot::Mutex;

use super::shown_arg;
use crate::client::{Client, ClientFlags};
use crate::pubsub::Delivery;
use crate::registry::Command;
use crate::spec::Flags;

/// The clients that listen. Part of [`Global`](crate::Global): read on the narrow side, changed on the wide one.
#[derive(Default)]
pub struct Monitors {
    clients: Vec<Arc<Client>>,
    /// Held while a line is left with everybody.
    order: Mutex<()>,
}

/// One executed command.
pub struct Line<'a> {
    pub command: &'a Command,
    pub args: &'a [&'a [u8]],
    pub db: DbIndex,
    /// Who has sent it; `None` where a script has called it.
    pub client: Option<&'a Client>,
}

impl Monitors {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Makes a client a monitor, unless it is one.
    pub fn add(&mut self, client: &Arc<Client>) {
        if !client.flags().contains(ClientFlags::MONITOR) {
            client.set_flag(ClientFlags::MONITOR, true);
            self.clients.push(client.clone());
        }
    }

    /// It listens no more, or is gone.
    pub fn remove(&mut self, client: &Client) {
        client.set_flag(ClientFlags::MONITOR, false);
        self.clients.retain(|other| other.id != client.id);
    }

    /// Tells all monitors of a command, under the access that executes it.
    pub fn tell(&self, line: &Line<'_>, mut delivery: Delivery<'_>) {
        if line.command.spec.flags.contains(Flags::ADMIN) {
            return;
        }
        let rest = line.rest();
        let order = self.order.lock();
        // Inside, so that time does not run backwards from line to line.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut text = Vec::with_capacity(rest.len() + 24);
        let time = (since.as_secs(), since.subsec_micros());
        write!(text, "+{}.{:06} ", time.0, time.1).expect("a vector takes whatever is written to it");
        text.extend(rest);
        for client in self.clients.iter().filter(|client| !client.killed.load(Relaxed)) {
            delivery.leave(client, |inbox| inbox.raw(&text));
        }
        drop(order);
        delivery.finish();
    }
}

impl Line<'_> {
    /// All of the line behind the time.
    fn rest(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(64);
        let source = match self.client {
            None => "lua".to_owned(),
            Some(client) if client.flags().contains(ClientFlags::UNIX_SOCKET) => {
                format!("unix:{}", client.address.strip_suffix(":0").unwrap_or(&client.address))
            }
            Some(client) => client.address.clone(),
        };
        write!(text, "[{} {source}]", self.db.0).expect("a vector takes whatever is written to it");
        for index in 0..self.args.len() {
            text.push(b' ');
            quote_into(&mut text, shown_arg(self.command, self.args, index));
        }
        text.extend(b"\r\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Place;
    use crate::registry::Registry;
    use keyspace::Millis;

    #[test]
    fn lines_of_redis() {
        let registry = Registry::default();
        let client = |address: &str| {
            Client::new(1, Place { thread: 0, token: 0 }, address.to_owned(), String::new(), 7, Millis(0))
        };
        let (tcp, unix) = (client("127.0.0.1:5000"), client("/tmp/sock:0"));
        unix.set_flag(ClientFlags::UNIX_SOCKET, true);
        let line = |args: &[&[u8]], db: u32, client| {
            let command = registry.resolve(args).expect("a command");
            String::from_utf8(Line { command, args, db: DbIndex(db), client }.rest()).expect("text")
        };
        assert_eq!(line(&[b"GET", b"a"], 0, Some(&tcp)), "[0 127.0.0.1:5000] \"GET\" \"a\"\r\n");
        assert_eq!(line(&[b"get", b"a"], 3, None), "[3 lua] \"get\" \"a\"\r\n");
        assert_eq!(line(&[b"get", b""], 0, Some(&unix)), "[0 unix:/tmp/sock] \"get\" \"\"\r\n");
        assert_eq!(line(&[b"auth", b"pw"], 0, Some(&tcp)), "[0 127.0.0.1:5000] \"auth\" \"(redacted)\"\r\n");
        assert_eq!(
            line(&[b"set", b"k", b"\x00\xff\"\\\n\r\t\x07\x08\xc3"], 0, None),
            "[0 lua] \"set\" \"k\" \"\\x00\\xff\\\"\\\\\\n\\r\\t\\a\\b\\xc3\"\r\n"
        );
    }
}
