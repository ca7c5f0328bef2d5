//! `--stat`: a line of figures again and again.

use std::collections::HashMap;
use std::time::Duration;

use resp::client::Value;

use super::Failed;
use crate::format::human_bytes;
use crate::interrupt;
use crate::session::{Session, print_bytes};

/// The figures of INFO by name.
pub struct Figures(HashMap<String, String>);

impl Figures {
    pub fn ask(session: &mut Session, section: &[&str]) -> Result<Figures, Failed> {
        let mut arguments = vec!["INFO"];
        arguments.extend(section);
        match session.link().command(&arguments)? {
            Value::Error(text) => Err(Failed(format!("ERROR: {}", String::from_utf8_lossy(&text)))),
            reply => Ok(Figures::read(reply.as_bytes().unwrap_or_default())),
        }
    }

    pub fn read(text: &[u8]) -> Figures {
        let text = String::from_utf8_lossy(text);
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Figures(pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn number(&self, name: &str) -> f64 {
        self.text(name).and_then(|text| text.trim_end_matches('%').parse().ok()).unwrap_or(0.0)
    }

    pub fn whole(&self, name: &str) -> i64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Keys in all databases, and those of them that expire.
    pub fn keys(&self) -> (u64, u64) {
        let mut total = (0, 0);
        for (name, value) in &self.0 {
            if name.strip_prefix("db").is_some_and(|number| number.parse::<u32>().is_ok()) {
                let field = |wanted: &str| {
                    let fields = value.split(',').filter_map(|field| field.split_once('='));
                    fields.filter(|(name, _)| *name == wanted).find_map(|(_, value)| value.parse::<u64>().ok())
                };
                total.0 += field("keys").unwrap_or(0);
                total.1 += field("expires").unwrap_or(0);
            }
        }
        total
    }

    pub fn matching<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }
}

pub fn run(session: &mut Session) -> Result<(), Failed> {
    let pause = if session.options.has_interval { session.options.interval } else { Duration::from_secs(1) };
    let mut requests_before = None;
    for line in 0.. {
        let figures = Figures::ask(session, &[])?;
        if line % 20 == 0 {
            print_bytes(
                b"------- data ------ --------------------- load -------------------- - child -\n\
                  keys       mem      clients blocked requests            connections          \n",
            );
        }
        let requests = figures.whole("total_commands_processed");
        let since = requests - requests_before.replace(requests).unwrap_or(requests);
        // Bit 1: a snapshot; bit 2: the AOF.
        let child = match (figures.whole("rdb_bgsave_in_progress"), figures.whole("aof_rewrite_in_progress")) {
            (0, 0) => "",
            (_, 0) => "SAVE",
            (0, _) => "AOF",
            _ => "SAVE+AOF",
        };
        let row = format!(
            "{:<10} {:<8} {:<7} {:<7} {:<19} {:<11} {child}\n",
            figures.keys().0,
            human_bytes(figures.whole("used_memory") as f64),
            figures.whole("connected_clients"),
            figures.whole("blocked_clients"),
            format!("{requests} (+{since})"),
            figures.whole("total_connections_received"),
        );
        print_bytes(row.as_bytes());
        if !interrupt::pause(pause) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_summed_over_databases() {
        let figures =
            Figures::read(b"# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\ndb12:keys=4,expires=0\r\ndbx:keys=9\r\n");
        assert_eq!(figures.keys(), (7, 1));
        assert_eq!(figures.number("none"), 0.0);
    }
}
