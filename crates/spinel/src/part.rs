//! The parts of the program and their names.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

/// What the program can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Server,
    Sentinel,
    Cli,
    Benchmark,
    CheckRdb,
    CheckAof,
    Proxy,
}

impl Part {
    const ALL: [Part; 7] =
        [Part::Server, Part::Sentinel, Part::Cli, Part::Benchmark, Part::CheckRdb, Part::CheckAof, Part::Proxy];

    /// The first word that asks for it, and the end of the names it may be started under.
    fn word(self) -> &'static str {
        match self {
            Part::Server => "server",
            Part::Sentinel => "sentinel",
            Part::Cli => "cli",
            Part::Benchmark => "benchmark",
            Part::CheckRdb => "check-rdb",
            Part::CheckAof => "check-aof",
            Part::Proxy => "proxy",
        }
    }

    fn of_word(word: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.word() == word)
    }

    /// The part to play, and whether the first word asked for it and is to be dropped.
    ///
    /// A name that says which part it is leaves all words to that part: `redis-server server` reads a file called
    /// `server`. Valkey's names count too, for those who come from there.
    pub fn choose(program: &OsStr, first_word: Option<&OsStr>) -> (Part, bool) {
        let name = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
        for family in ["redis-", "valkey-", "spinel-"] {
            if let Some(part) = name.strip_prefix(family).and_then(Part::of_word) {
                return (part, false);
            }
        }
        match first_word.and_then(OsStr::to_str).and_then(Part::of_word) {
            Some(part) => (part, true),
            None => (Part::Server, false),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_then_the_first_word_then_it_is_the_server() {
        for (program, word, expected) in [
            ("spinel", None, (Part::Server, false)),
            ("spinel", Some("server"), (Part::Server, true)),
            ("spinel", Some("cli"), (Part::Cli, true)),
            ("spinel", Some("spinel.conf"), (Part::Server, false)),
            ("spinel", Some("--port"), (Part::Server, false)),
            ("/usr/bin/redis-server", Some("server"), (Part::Server, false)),
            ("redis-sentinel", None, (Part::Sentinel, false)),
            ("./spinel-check-rdb", Some("dump.rdb"), (Part::CheckRdb, false)),
            ("valkey-cli", None, (Part::Cli, false)),
            ("redis-nothing", None, (Part::Server, false)),
        ] {
            assert_eq!(Part::choose(OsStr::new(program), word.map(OsStr::new)), expected, "{program} {word:?}");
        }
    }
}
