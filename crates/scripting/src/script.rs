//! A script's text: its name, and what its first line says about it.

use std::fmt::Write as _;
use std::sync::Arc;

use sha1::{Digest, Sha1 as Hasher};

/// A script's name: the hash of its text, in lower-case hexadecimal digits.
pub type Sha1 = [u8; 40];

/// The hash of any text, as `redis.sha1hex` and SCRIPT LOAD say it.
pub fn sha1_of(text: &[u8]) -> Sha1 {
    let mut hex = String::with_capacity(40);
    for byte in Hasher::digest(text) {
        write!(hex, "{byte:02x}").expect("a string takes everything");
    }
    hex.into_bytes().try_into().expect("a hash has 20 bytes")
}

/// What `#!lua flags=…` declares. Of these, only `no-writes` acts before there are replicas and a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptFlags {
    pub no_writes: bool,
}

/// A script that may run.
#[derive(Clone, Debug)]
pub struct Script {
    pub sha1: Sha1,
    pub text: Arc<[u8]>,
    pub flags: ScriptFlags,
    /// Where the program begins: behind the shebang, but for its line end, so that lines keep their numbers.
    pub(crate) program_start: usize,
}

impl Script {
    /// # Errors
    /// The text for the client, if the first line begins with `#!` and makes no sense.
    pub fn parse(text: &[u8]) -> Result<Script, String> {
        let mut script =
            Script { sha1: sha1_of(text), text: text.into(), flags: ScriptFlags::default(), program_start: 0 };
        if !text.starts_with(b"#!") {
            return Ok(script);
        }
        let Some(end) = memchr::memchr(b'\n', text) else {
            return Err("ERR Invalid script shebang".to_owned());
        };
        script.program_start = end;
        let line = String::from_utf8_lossy(&text[..end]);
        let mut words = line.split_ascii_whitespace();
        let engine = words.next().unwrap_or_default();
        if engine != "#!lua" {
            return Err(format!("ERR Unexpected engine in script shebang: {engine}"));
        }
        for word in words {
            let Some(flags) = word.strip_prefix("flags=") else {
                return Err(format!("ERR Unknown lua shebang option: {word}"));
            };
            for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
                match flag {
                    "no-writes" => script.flags.no_writes = true,
                    "allow-oom" | "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                    _ => return Err(format!("ERR Unexpected flag in script shebang: {flag}")),
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
