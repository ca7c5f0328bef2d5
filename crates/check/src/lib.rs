//! `redis-check-rdb` and `redis-check-aof`: whether a file is whole, what is in it, and where it is damaged.
//!
//! **Owns** what the two tools take, print and return, and the one thing they ever write: a shorter append-only file, on `--fix` and
//! `--truncate-to-timestamp`. **Must not know** servers and sockets. RDB files are read by [`::rdb`], manifests by [`journal`].
//!
//! Options, exit codes, decisions, and the lines that scripts look for are those of Redis 8.2; `--stats` and what belongs to it Valkey 9.1's
//! (`real_tools.rs` runs them side by side). Where they differ on purpose, [`aof`] and [`rdb`] say why.
//!
//! **Start** at [`rdb::run`] and [`aof::run`].

pub mod aof;
mod progress;
pub mod rdb;
#[cfg(test)]
mod real_tools;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Sound,
    Unsound,
}

/// The name that a tool was started under, for its usage.
fn program_name(arguments: &[OsString], default: &str) -> String {
    arguments.first().map_or(default.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The exit code of a verdict. Output that nobody reads any more (`| head`) is no reason to complain.
fn exit_code(verdict: io::Result<Verdict>) -> ExitCode {
    match verdict {
        Ok(Verdict::Sound) => ExitCode::SUCCESS,
        Ok(Verdict::Unsound) => ExitCode::FAILURE,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                let _ = writeln!(io::stderr(), "{error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The system's text for an error, without the number that Rust adds.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(end)) => text[..end].to_owned(),
        _ => text,
    }
}

/// Bytes of a key, a name or a value for the terminal, at most so many of them.
fn shown(bytes: &[u8]) -> String {
    const BYTES_MAX: usize = 100;
    match bytes.len() {
        0..=BYTES_MAX => bytes.escape_ascii().to_string(),
        len => format!("{}... ({len} bytes)", bytes[..BYTES_MAX].escape_ascii()),
    }
}
