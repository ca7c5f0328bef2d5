//! `redis-check-aof`: whether an append-only file can be loaded, and making it loadable by cutting off its end.
//!
//! ```text
//! file ──► begins with REDIS or VALKEY ──► a snapshot (crate::rdb), then commands ──┐
//!      ──► first line begins with "file" ──► a manifest: each of its files, in order ├──► scan ──► cut, if asked for
//!      ──► else commands ───────────────────────────────────────────────────────────┘
//! ```
//!
//! Only the last file may be cut: what the later ones say was written after it. Nothing else is ever written, and that only if the
//! file is still as long as it was when it was read, so that a server that writes it loses nothing.
//!
//! **Unlike Redis's**, which calls such files valid, or cuts them so that no server loads them:
//! - `*0` is no command: no server loads it.
//! - An annotation of a later time *within* a transaction cuts before its MULTI.
//! - Annotations of more than 1023 bytes are annotations.
//! - Snapshots that Valkey 9 wrote are snapshots.
//! - Lines are counted from the beginning of each file, and all of them.

mod scan;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use journal::aof::{Entry, Manifest, is_rdb};

use self::scan::{End, Scan, scan};
use crate::progress::Watched;
use crate::{Verdict, exit_code, program_name, system_text};

const BUFFER_BYTES: usize = 1 << 20;

/// What is to be done with what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Check,
    /// Cut off what is not valid, if who asked says yes.
    Fix,
    /// Cut off what was written after this second.
    TruncateTo(i64),
}

/// Runs the tool. The first argument is the name it was started under.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let verdict = run_with(&arguments, &mut out, &mut io::stdin().lock());
    exit_code(verdict.and_then(|verdict| out.flush().map(|()| verdict)))
}

pub(crate) fn run_with(arguments: &[OsString], out: &mut dyn Write, answers: &mut dyn BufRead) -> io::Result<Verdict> {
    let words: Vec<&OsStr> = arguments.iter().skip(1).map(OsString::as_os_str).collect();
    let (mode, file) = match words.as_slice() {
        [word] if ["-v", "--version"].iter().any(|version| word == version) => {
            writeln!(out, "redis-check-aof v={} (Spinel)", env!("CARGO_PKG_VERSION"))?;
            return Ok(Verdict::Sound);
        }
        [word] if ["-h", "--help"].iter().any(|help| word == help) => {
            usage(arguments, out)?;
            out.write_all(HELP.as_bytes())?;
            return Ok(Verdict::Sound);
        }
        [file] => (Mode::Check, file),
        [option, file] if *option == "--fix" => (Mode::Fix, file),
        [option, second, file] if *option == "--truncate-to-timestamp" => {
            match second.to_str().and_then(|text| text.parse().ok()) {
                // As Redis has it: nothing was asked for.
                Some(0) => (Mode::Check, file),
                Some(second) => (Mode::TruncateTo(second), file),
                None => {
                    writeln!(out, "Invalid timestamp, aborting...")?;
                    return Ok(Verdict::Unsound);
                }
            }
        }
        _ => {
            usage(arguments, out)?;
            return Ok(Verdict::Unsound);
        }
    };
    Checker { mode, out, answers }.check(Path::new(file))
}

fn usage(arguments: &[OsString], out: &mut dyn Write) -> io::Result<()> {
    let program = program_name(arguments, "redis-check-aof");
    writeln!(out, "Usage: {program} [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>")
}

const HELP: &str = "
Says whether an append-only file can be loaded: all files of a manifest, or one file of commands,
with or without a snapshot (RDB) at its beginning. Nothing is written unless asked for:

  --fix                            cut off what is not valid at the end of the last file, after asking
  --truncate-to-timestamp SECOND   cut the last file before what was written after this second of Unix time
                                   (as far as aof-timestamp-enabled has noted it)

Make a copy first, and stop the server. The exit code is 0 if the file is valid, or is now.
";

/// What a file is, by its beginning.
enum Kind {
    Manifest,
    Snapshot,
    Commands,
}

struct Checker<'a> {
    mode: Mode,
    out: &'a mut dyn Write,
    answers: &'a mut dyn BufRead,
}

/// A file to look at.
struct Part {
    path: PathBuf,
    /// Without folders.
    name: String,
    /// BASE AOF, INCR AOF, or AOF where there is no manifest.
    label: &'static str,
    is_last: bool,
}

impl Checker<'_> {
    fn check(&mut self, path: &Path) -> io::Result<Verdict> {
        let kind = match File::open(path) {
            Ok(file) => kind_of(&file),
            Err(error) => {
                writeln!(self.out, "Cannot open file {}: {}", path.display(), system_text(&error))?;
                return Ok(Verdict::Unsound);
            }
        };
        match kind {
            Ok(Kind::Manifest) => self.manifest(path),
            Ok(Kind::Snapshot | Kind::Commands) => {
                writeln!(self.out, "Start checking Old-Style AOF")?;
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                self.part(&Part { path: path.to_owned(), name, label: "AOF", is_last: true })
            }
            Err(error) => {
                writeln!(self.out, "Cannot read file: {}: {}", path.display(), system_text(&error))?;
                Ok(Verdict::Unsound)
            }
        }
    }

    fn manifest(&mut self, path: &Path) -> io::Result<Verdict> {
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let manifest = match Manifest::parse(&std::fs::read(path)?) {
            Ok(manifest) => manifest,
            Err(error) => {
                writeln!(self.out, "\n*** FATAL AOF MANIFEST FILE ERROR ***\n{error}")?;
                writeln!(
                    self.out,
                    "The manifest is a text file; it lists the base file and, in ascending order of seq, the incremental ones. \
                     No server starts with it as it is."
                )?;
                return Ok(Verdict::Unsound);
            }
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let part = |entry: &Entry, label, is_last| Part {
            path: folder.join(OsStr::from_bytes(&entry.name)),
            name: String::from_utf8_lossy(&entry.name).into_owned(),
            label,
            is_last,
        };
        if let Some(base) = &manifest.base {
            let part = part(base, "BASE AOF", manifest.incremental.is_empty());
            let is_snapshot = File::open(&part.path).and_then(|file| kind_of(&file));
            let form = if matches!(is_snapshot, Ok(Kind::Snapshot)) { "RDB" } else { "RESP" };
            writeln!(self.out, "Start to check BASE AOF ({form} format).")?;
            if self.part(&part)? == Verdict::Unsound {
                return Ok(Verdict::Unsound);
            }
        }
        if let Some(last) = manifest.incremental.len().checked_sub(1) {
            writeln!(self.out, "Start to check INCR files.")?;
            for (index, entry) in manifest.incremental.iter().enumerate() {
                if self.part(&part(entry, "INCR AOF", index == last))? == Verdict::Unsound {
                    return Ok(Verdict::Unsound);
                }
            }
        }
        writeln!(self.out, "All AOF files and manifest are valid")?;
        Ok(Verdict::Sound)
    }

    fn part(&mut self, part: &Part) -> io::Result<Verdict> {
        let Part { path, name, label, is_last } = part;
        let opened = File::open(path).and_then(|file| {
            let size_bytes = file.metadata()?.len();
            Ok((file, size_bytes))
        });
        let (mut file, size_bytes) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                writeln!(self.out, "Cannot open file {}: {}, aborting...", path.display(), system_text(&error))?;
                return Ok(Verdict::Unsound);
            }
        };
        if size_bytes == 0 {
            writeln!(self.out, "{label} {name} is empty")?;
            return Ok(Verdict::Sound);
        }
        let mut begin = 0;
        if matches!(kind_of(&file)?, Kind::Snapshot) {
            match crate::rdb::check_preamble(&file, path, self.out)? {
                Some(end) => begin = end,
                None => {
                    writeln!(self.out, "RDB preamble of AOF file is not sane, aborting.")?;
                    writeln!(self.out, "It can't be cut: take {name} from a backup.")?;
                    return Ok(Verdict::Unsound);
                }
            }
            writeln!(self.out, "RDB preamble is OK, proceeding with AOF tail...")?;
        }
        let timestamp_max = match self.mode {
            Mode::TruncateTo(second) => Some(second),
            Mode::Check | Mode::Fix => None,
        };
        file.seek(SeekFrom::Start(begin))?;
        // What a server appends meanwhile is none of ours.
        let tail = Watched::new(&file, size_bytes - begin).take(size_bytes - begin);
        let found = match scan(BufReader::with_capacity(BUFFER_BYTES, tail), begin, timestamp_max) {
            Ok(found) => found,
            Err(error) => {
                writeln!(self.out, "{label} {name} cannot be read: {}", system_text(&error))?;
                return Ok(Verdict::Unsound);
            }
        };
        match (&found.end, self.mode) {
            (End::Whole, Mode::TruncateTo(second)) => {
                writeln!(self.out, "Truncate nothing in {label} {name} to timestamp {second}")?;
                writeln!(self.out, "{label} {name} is valid")?;
                Ok(Verdict::Sound)
            }
            (End::Whole, _) => {
                self.analyzed(part, size_bytes, &found)?;
                writeln!(self.out, "{label} {name} is valid")?;
                Ok(Verdict::Sound)
            }
            (End::UnreadableTimestamp { offset }, _) => {
                writeln!(self.out, "Invalid timestamp annotation")?;
                writeln!(self.out, "{label} {name}, offset {offset}: expected #TS:, a number, CR LF")?;
                Ok(Verdict::Unsound)
            }
            (End::LaterThanAsked, mode) => {
                let Mode::TruncateTo(second) = mode else { unreachable!("no other mode asks for a timestamp") };
                self.truncate_to_timestamp(part, size_bytes, found.valid_bytes, second)
            }
            (End::Fault(fault), _) => {
                writeln!(self.out, "{label} {name}, offset {}: {}", fault.offset, fault.what)?;
                if let Some((at, command)) = &fault.within {
                    writeln!(self.out, "It is in {command}, which begins at offset {at}")?;
                }
                self.analyzed(part, size_bytes, &found)?;
                if self.mode == Mode::Fix {
                    return self.fix(part, size_bytes, found.valid_bytes);
                }
                writeln!(self.out, "{label} {name} is not valid. Use the --fix option to try fixing it.")?;
                writeln!(self.out, "{}", advice(*is_last, fault.is_truncated))?;
                Ok(Verdict::Unsound)
            }
        }
    }

    fn analyzed(&mut self, part: &Part, size_bytes: u64, found: &Scan) -> io::Result<()> {
        let Scan { valid_bytes, valid_lines, commands, transactions, .. } = found;
        writeln!(
            self.out,
            "AOF analyzed: filename={}, size={size_bytes}, ok_up_to={valid_bytes}, ok_up_to_line={valid_lines}, diff={}",
            part.name,
            size_bytes - valid_bytes
        )?;
        writeln!(self.out, "{commands} commands read, {transactions} transactions")
    }

    fn fix(&mut self, part: &Part, size_bytes: u64, valid_bytes: u64) -> io::Result<Verdict> {
        let Part { path, name, label, is_last } = part;
        if !is_last {
            writeln!(self.out, "Failed to truncate {label} {name} because it is not the last file")?;
            writeln!(self.out, "{}", advice(false, false))?;
            return Ok(Verdict::Unsound);
        }
        let lost_bytes = size_bytes - valid_bytes;
        writeln!(
            self.out,
            "This will shrink the {label} {name} from {size_bytes} bytes, with {lost_bytes} bytes, to {valid_bytes} bytes"
        )?;
        write!(self.out, "Continue? [y/N]: ")?;
        self.out.flush()?;
        let mut answer = String::new();
        // Whatever is no text is no yes.
        let _ = self.answers.read_line(&mut answer);
        if !answer.starts_with(['y', 'Y']) {
            writeln!(self.out, "Aborting...")?;
            return Ok(Verdict::Unsound);
        }
        match cut(path, size_bytes, valid_bytes) {
            Ok(()) => {
                writeln!(self.out, "Successfully truncated {label} {name}")?;
                Ok(Verdict::Sound)
            }
            Err(error) => {
                writeln!(self.out, "Failed to truncate {label} {name}: {}", system_text(&error))?;
                Ok(Verdict::Unsound)
            }
        }
    }

    fn truncate_to_timestamp(
        &mut self,
        part: &Part,
        size_bytes: u64,
        valid_bytes: u64,
        second: i64,
    ) -> io::Result<Verdict> {
        let Part { path, name, label, is_last } = part;
        if valid_bytes == 0 {
            writeln!(self.out, "{label} {name} has nothing before timestamp {second}, aborting...")?;
            return Ok(Verdict::Unsound);
        }
        if !is_last {
            writeln!(
                self.out,
                "Failed to truncate {label} {name} to timestamp {second} to offset {valid_bytes} because it is not the last file.\n\
                 If you insist, delete the files after it and their lines in the manifest, then run this again."
            )?;
            return Ok(Verdict::Unsound);
        }
        match cut(path, size_bytes, valid_bytes) {
            Ok(()) => {
                writeln!(self.out, "Successfully truncated {label} {name} to timestamp {second}")?;
                Ok(Verdict::Sound)
            }
            Err(error) => {
                writeln!(self.out, "Failed to truncate {label} {name} to timestamp {second}: {}", system_text(&error))?;
                Ok(Verdict::Unsound)
            }
        }
    }
}

fn advice(is_last: bool, is_truncated: bool) -> &'static str {
    match (is_last, is_truncated) {
        (true, true) => {
            "It ends in the middle of something, as after a crash. A server with aof-load-truncated yes loads it without \
             the rest, and --fix cuts that off: nothing whole is lost."
        }
        (true, false) => {
            "What follows is damaged, and perhaps sound behind that: --fix cuts all of it off. Look at the file there first, \
             and make a copy."
        }
        (false, _) => {
            "It is not the last file, so that cutting it would lose what lies between it and the next: \
             --fix does not. Take it from a backup or a replica."
        }
    }
}

/// Makes a file shorter, and returns when it is.
///
/// # Errors
/// Also if it is not as long any more as it was when it was read: somebody writes to it.
pub(crate) fn cut(path: &Path, size_bytes: u64, valid_bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() != size_bytes {
        return Err(io::Error::other("it has changed since it was read; is a server still writing to it?"));
    }
    file.set_len(valid_bytes)?;
    file.sync_all()
}

/// What a file is. It is read from its beginning then.
fn kind_of(file: &File) -> io::Result<Kind> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0))?;
    let mut beginning = Vec::new();
    (&mut reader).take(6).read_to_end(&mut beginning)?;
    if is_rdb(&beginning) {
        return Ok(Kind::Snapshot);
    }
    // Comments before the first entry; in a file of commands, annotations.
    reader.seek(SeekFrom::Start(0))?;
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut reader).take(4).read_until(b'\n', &mut line)?;
        match line.as_slice() {
            b"file" => return Ok(Kind::Manifest),
            [b'#', ..] if line.ends_with(b"\n") => {}
            [b'#', ..] => {
                reader.skip_until(b'\n')?;
            }
            _ => return Ok(Kind::Commands),
        }
    }
}
