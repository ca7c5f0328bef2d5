//! `redis-check-rdb`: whether an RDB file can be loaded, and what is in it.
//!
//! Everything is decoded and checked in full, as loading does. A value that is damaged while its bytes are where they should be does not end the
//! check: all such keys are named.
//!
//! **Unlike Redis's**, modules are a fault: this server has none, and would not load the file.

mod statistics;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use self::statistics::{Format, Statistics};
use self::walk::walk;
use crate::{Verdict, exit_code, program_name, system_text};

/// What was asked for.
struct Asked<'a> {
    file: &'a OsStr,
    has_statistics: bool,
    format: Format,
    /// Where statistics go, instead of the terminal.
    output: Option<&'a OsStr>,
}

/// Runs the tool. The first argument is the name it was started under.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let verdict = run_with(&arguments, &mut out);
    exit_code(verdict.and_then(|verdict| out.flush().map(|()| verdict)))
}

pub(crate) fn run_with(arguments: &[OsString], out: &mut dyn Write) -> io::Result<Verdict> {
    let words: Vec<&OsStr> = arguments.iter().skip(1).map(OsString::as_os_str).collect();
    let is_one_of = |names: [&str; 2]| matches!(words.as_slice(), [word] if names.iter().any(|name| word == name));
    if is_one_of(["-v", "--version"]) {
        writeln!(out, "redis-check-rdb v={} (Spinel)", env!("CARGO_PKG_VERSION"))?;
        return Ok(Verdict::Sound);
    }
    let is_help = is_one_of(["-h", "--help"]);
    let Some(asked) = parse(&words).filter(|_| !is_help) else {
        let program = program_name(arguments, "redis-check-rdb");
        writeln!(out, "Usage: {program} <rdb-file-name> [--format table|info|csv] [--stats] [--output <file>]")?;
        if !is_help {
            return Ok(Verdict::Unsound);
        }
        out.write_all(HELP.as_bytes())?;
        return Ok(Verdict::Sound);
    };
    check(&asked, out)
}

const HELP: &str = "
Says whether an RDB file can be loaded: every key is decoded, and the checksum compared. Nothing is written.

  --stats           what is in it: keys, elements and bytes by database, type and encoding; the largest keys
  --format FORMAT   as a table, as lines of name:value (info), or as csv
  --output FILE     statistics go there

The exit code is 0 if the file is sound.
";

/// The file comes first, as Valkey has it.
fn parse<'a>(words: &[&'a OsStr]) -> Option<Asked<'a>> {
    let (&file, mut rest) = words.split_first()?;
    let mut asked = Asked { file, has_statistics: false, format: Format::Table, output: None };
    while let Some((&option, after)) = rest.split_first() {
        rest = match (option.to_str()?, after) {
            ("--stats", after) => {
                asked.has_statistics = true;
                after
            }
            ("--format", [format, after @ ..]) => {
                asked.format = Format::from_word(format.to_str()?)?;
                after
            }
            ("--output", [output, after @ ..]) => {
                asked.output = Some(output);
                after
            }
            _ => return None,
        };
    }
    Some(asked)
}

fn check(asked: &Asked<'_>, out: &mut dyn Write) -> io::Result<Verdict> {
    let path = Path::new(asked.file);
    // Before the work, so that it was not in vain.
    let mut output = match asked.output.filter(|_| asked.has_statistics).map(|output| (output, File::create(output))) {
        None => None,
        Some((_, Ok(file))) => Some(BufWriter::new(file)),
        Some((output, Err(error))) => {
            writeln!(out, "Cannot open output file: '{}': {}", output.display(), system_text(&error))?;
            return Ok(Verdict::Unsound);
        }
    };
    let mut statistics = asked.has_statistics.then(Statistics::new);
    let end = match File::open(path) {
        Ok(file) => walk(&file, path, out, statistics.as_mut())?,
        Err(error) => {
            writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
            writeln!(out, "Cannot open file {}: {}", path.display(), system_text(&error))?;
            return Ok(Verdict::Unsound);
        }
    };
    if let Some(statistics) = statistics {
        match &mut output {
            Some(output) => {
                statistics.write(asked.format, output)?;
                output.flush()?;
            }
            None => statistics.write(asked.format, out)?,
        }
    }
    Ok(if end.is_some() { Verdict::Sound } else { Verdict::Unsound })
}

/// Checks a snapshot that commands follow. Returns where they begin; none if it is not sound.
pub(crate) fn check_preamble(file: &File, path: &Path, out: &mut dyn Write) -> io::Result<Option<u64>> {
    walk(file, path, out, None)
}
