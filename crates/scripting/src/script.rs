//! A script's text: its name, and what its first line says about it.

use std::sync::Arc;

use config::words::split_words;
use sha1::{Digest, Sha1 as Hasher};

/// A script's name: the hash of its text, in lower-case hexadecimal digits.
pub type Sha1 = [u8; 40];

/// The hash of any text, as `redis.sha1hex` and SCRIPT LOAD say it.
pub fn sha1_of(text: &[u8]) -> Sha1 {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 40];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(Hasher::digest(text)) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    hex
}

/// What a script or function declares about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags {
    /// It only reads, and is refused to write.
    pub no_writes: bool,
    /// It may run where memory is over its limit.
    pub allow_oom: bool,
    /// It may run on a replica that has lost its primary.
    pub allow_stale: bool,
    /// It must not run in a cluster.
    pub no_cluster: bool,
    /// Its keys may lie in several slots.
    pub allow_cross_slot_keys: bool,
}

impl ScriptFlags {
    /// The flag of this name, in Redis's order of them.
    fn named(&mut self) -> [(&'static str, &mut bool); 5] {
        [
            ("no-writes", &mut self.no_writes),
            ("allow-oom", &mut self.allow_oom),
            ("allow-stale", &mut self.allow_stale),
            ("no-cluster", &mut self.no_cluster),
            ("allow-cross-slot-keys", &mut self.allow_cross_slot_keys),
        ]
    }

    /// Whether it must not begin where memory is full.
    pub fn denies_oom(self) -> bool {
        !self.allow_oom && !self.no_writes
    }

    /// Sets the flag of this name; false if there is none.
    pub fn set(&mut self, name: &[u8]) -> bool {
        let flag = self.named().into_iter().find(|(known, _)| known.as_bytes() == name);
        flag.map(|(_, flag)| *flag = true).is_some()
    }

    /// The names of those that are set.
    pub fn names(mut self) -> impl Iterator<Item = &'static str> {
        self.named().map(|(name, flag)| flag.then_some(name)).into_iter().flatten()
    }
}

/// A script that may run.
#[derive(Clone, Debug)]
pub struct Script {
    pub sha1: Sha1,
    pub text: Arc<[u8]>,
    /// What its first line declares, if that begins with `#!`. Without that, what it may do is asked command by command.
    pub flags: Option<ScriptFlags>,
    /// Where the program begins: behind the shebang, but for its line end, so that lines keep their numbers.
    pub(crate) program_start: usize,
}

impl Script {
    /// # Errors
    /// The text for the client, if the first line begins with `#!` and makes no sense.
    pub fn parse(text: &[u8]) -> Result<Script, Vec<u8>> {
        let mut script = Script { sha1: sha1_of(text), text: text.into(), flags: None, program_start: 0 };
        if !text.starts_with(b"#!") {
            return Ok(script);
        }
        let refused = |text: &str, word: &[u8]| Err([text.as_bytes(), word].concat());
        let Some(end) = memchr::memchr(b'\n', text) else {
            return refused("ERR Invalid script shebang", b"");
        };
        script.program_start = end;
        let Ok(words) = split_words(&text[..end]) else {
            return refused("ERR Invalid engine in script shebang", b"");
        };
        let (engine, options) = words.split_first().expect("it begins with #!");
        if engine != b"#!lua" {
            return refused("ERR Unexpected engine in script shebang: ", engine);
        }
        let flags = script.flags.insert(ScriptFlags::default());
        for option in options {
            let Some(names) = option.strip_prefix(b"flags=") else {
                return refused("ERR Unknown lua shebang option: ", option);
            };
            for name in names.split(|&byte| byte == b',').filter(|_| !names.is_empty()) {
                if !flags.set(name) {
                    return refused("ERR Unexpected flag in script shebang: ", name);
                }
            }
        }
        Ok(script)
    }

    /// What the compiler gets.
    pub(crate) fn program(&self) -> &[u8] {
        &self.text[self.program_start..]
    }
}
