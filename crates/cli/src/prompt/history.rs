//! What was typed before, in a file of plain lines as redis-cli keeps it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// How many lines are kept.
const LINES_MAX: usize = 2000;

pub struct HistoryFile {
    path: Option<PathBuf>,
}

impl HistoryFile {
    /// REDISCLI_HISTFILE, or a file in the home folder; /dev/null and an empty name mean none.
    pub fn find() -> HistoryFile {
        let path = match std::env::var_os("REDISCLI_HISTFILE") {
            Some(path) if path.is_empty() || path == "/dev/null" => None,
            Some(path) => Some(PathBuf::from(path)),
            None => std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".rediscli_history")),
        };
        HistoryFile { path }
    }

    /// The lines, oldest first. The file is cut when it has grown to twice what is kept.
    pub fn load(&self) -> Vec<String> {
        let Some(path) = &self.path else { return Vec::new() };
        let Ok(bytes) = fs::read(path) else { return Vec::new() };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let kept: Vec<String> =
            lines[lines.len().saturating_sub(LINES_MAX)..].iter().map(|line| line.to_string()).collect();
        if lines.len() > 2 * LINES_MAX {
            let _ = fs::write(path, kept.join("\n") + "\n");
        }
        kept
    }

    /// Appends a line. Sessions side by side lose nothing of each other; nobody else may read it.
    pub fn append(&self, line: &str) {
        let Some(path) = &self.path else { return };
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        if let Ok(mut file) = opened {
            let _ = file.write_all(format!("{}\n", in_one_line(line)).as_bytes());
        }
    }
}

/// A line end within double quotes is written as one types it, any other is a space.
pub fn in_one_line(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut quote = None;
    let mut escaped = false;
    for character in line.chars() {
        if character == '\n' || character == '\r' {
            out.push_str(if quote == Some('"') { "\\n" } else { " " });
            escaped = false;
            continue;
        }
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            None if character == '"' || character == '\'' => quote = Some(character),
            _ => {}
        }
        out.push(character);
    }
    out
}

/// Whether a command holds a password, which no file shall keep.
pub fn is_secret(words: &[Vec<u8>]) -> bool {
    let is = |at: usize, word: &str| words.get(at).is_some_and(|have| have.eq_ignore_ascii_case(word.as_bytes()));
    let any = |word: &str| (1..words.len()).any(|at| is(at, word));
    is(0, "auth")
        || (is(0, "acl") && (is(1, "setuser") || is(1, "deluser")))
        || (is(0, "config")
            && is(1, "set")
            && ["masterauth", "masteruser", "primaryauth", "requirepass"].into_iter().any(any))
        || (is(0, "hello") && any("auth"))
        || (is(0, "migrate") && (any("auth") || any("auth2")))
        || (is(0, "sentinel") && (any("auth-pass") || any("sentinel-pass")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_become_one() {
        assert_eq!(in_one_line("set a \"x\ny\""), "set a \"x\\ny\"");
        assert_eq!(in_one_line("set a\n b"), "set a  b");
        assert_eq!(in_one_line("set a 'x\ny'"), "set a 'x y'");
    }

    #[test]
    fn passwords_are_not_kept() {
        let words = |line: &str| -> Vec<Vec<u8>> { line.split(' ').map(|word| word.as_bytes().to_vec()).collect() };
        for line in
            ["AUTH x", "acl setuser me >x", "config set requirepass x", "hello 3 auth a b", "migrate h 1 k 0 1 AUTH x"]
        {
            assert!(is_secret(&words(line)), "{line}");
        }
        for line in ["get auth", "acl list", "config set maxmemory 1", "hello 3"] {
            assert!(!is_secret(&words(line)), "{line}");
        }
    }
}
