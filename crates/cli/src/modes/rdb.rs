//! `--rdb` and `--functions-rdb`: fetching the data as a replica would, and the beginning of that, which `--replica` shares.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use resp::client::Value;

use super::Failed;
use crate::connection::{Connection, LinkError, reason};
use crate::session::Session;

/// How the server says where the snapshot ends.
///
/// ```text
/// $1824\r\n <1824 bytes>                         a length
/// $EOF:<40 bytes of mark>\r\n <bytes> <mark>      a mark behind it, when it is made while it is sent
/// ```
pub enum Announced {
    Length(u64),
    Mark([u8; MARK_BYTES]),
}

const MARK_BYTES: usize = 40;

pub fn run(session: &mut Session, file: &Path, functions_only: bool) -> Result<(), Failed> {
    let mut destination = Destination::open(file)?;
    let link = session.link();
    tell(link, &["capa", "eof"], "capa")?;
    tell(link, &["rdb-only", "1"], "rdb-only")?;
    if functions_only && !tell(link, &["rdb-filter-only", "functions"], "rdb-filter-only")? {
        return Err(Failed::new("Server doesn't support filtering the RDB file: it cannot send the functions alone."));
    }
    let name = file.display();
    let announced = sync(link)?;
    match &announced {
        Announced::Length(bytes) => eprintln!("SYNC sent to master, writing {bytes} bytes to '{name}'"),
        Announced::Mark(_) => {
            eprintln!("SYNC sent to master, writing bytes of bulk transfer until EOF marker to '{name}'");
        }
    }
    let wrote = |error: io::Error| Failed(format!("Error writing data to file: {}", reason(&error)));
    let bytes = transfer(link, &announced, |bytes| destination.write(bytes).map_err(wrote))?;
    destination.finish().map_err(wrote)?;
    match announced {
        Announced::Length(_) => eprintln!("Transfer finished with success."),
        Announced::Mark(_) => eprintln!("Transfer finished with success after {bytes} bytes"),
    }
    Ok(())
}

/// REPLCONF; servers that do not know the word go on all the same. Says whether it was accepted.
pub fn tell(link: &mut Connection, words: &[&str], name: &str) -> Result<bool, Failed> {
    eprintln!("sending REPLCONF {}", words.join(" "));
    let arguments: Vec<&str> = std::iter::once("REPLCONF").chain(words.iter().copied()).collect();
    match link.command(&arguments)? {
        Value::Error(text) => {
            eprintln!("REPLCONF {name} error: {}", String::from_utf8_lossy(&text));
            Ok(false)
        }
        _ => Ok(true),
    }
}

/// Asks for a snapshot and waits for its announcement, which may take as long as the server needs to make it.
pub fn sync(link: &mut Connection) -> Result<Announced, Failed> {
    link.queue_bytes(b"SYNC\r\n");
    link.flush()?;
    announcement(link)
}

/// Reads the announcement. Until the snapshot is made the server sends empty lines, so that nobody thinks it dead.
pub fn announcement(link: &mut Connection) -> Result<Announced, Failed> {
    let bad = || Failed::new("SYNC with master failed: the server's announcement cannot be read");
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        if link.read_raw(&mut byte)? == 0 {
            return Err(LinkError::Closed.into());
        }
        match byte[0] {
            b'\n' if line.is_empty() => {}
            b'\n' if line.starts_with(b"+FULLRESYNC") || line.starts_with(b"+CONTINUE") => line.clear(),
            b'\n' => break,
            b'\r' => {}
            byte => line.push(byte),
        }
        if line.len() > 4096 {
            return Err(bad());
        }
    }
    match &line[..] {
        [b'-', ..] => Err(Failed(format!("SYNC with master failed: {}", String::from_utf8_lossy(&line)))),
        [b'$', b'E', b'O', b'F', b':', mark @ ..] => mark.try_into().map(Announced::Mark).map_err(|_| bad()),
        [b'$', length @ ..] => resp::number::parse_i64(length)
            .and_then(|length| u64::try_from(length).ok())
            .map(Announced::Length)
            .ok_or_else(bad),
        _ => Err(bad()),
    }
}

/// Passes the snapshot on and says how long it was, without its mark.
pub fn transfer(
    link: &mut Connection,
    announced: &Announced,
    mut take: impl FnMut(&[u8]) -> Result<(), Failed>,
) -> Result<u64, Failed> {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0u64;
    match announced {
        Announced::Length(length) => {
            while total < *length {
                let room = (length - total).min(buffer.len() as u64) as usize;
                let read = read_some(link, &mut buffer[..room])?;
                take(&buffer[..read])?;
                total += read as u64;
            }
        }
        Announced::Mark(mark) => {
            // The last bytes may be the mark, and are held back until more come.
            let mut held = 0;
            loop {
                let filled = held + read_some(link, &mut buffer[held..])?;
                if buffer[..filled].ends_with(mark) {
                    take(&buffer[..filled - MARK_BYTES])?;
                    return Ok(total + (filled - MARK_BYTES) as u64);
                }
                held = filled.min(MARK_BYTES);
                take(&buffer[..filled - held])?;
                total += (filled - held) as u64;
                buffer.copy_within(filled - held..filled, 0);
            }
        }
    }
    Ok(total)
}

fn read_some(link: &mut Connection, buffer: &mut [u8]) -> Result<usize, Failed> {
    match link.read_raw(buffer)? {
        0 => {
            Err(Failed::new("SYNC with master failed: the server closed the connection in the middle of the transfer"))
        }
        read => Ok(read),
    }
}

/// Where the file goes. A regular file gets its name only when it is whole, so that a transfer that breaks off leaves the last backup
/// as it was.
enum Destination {
    Output(io::Stdout),
    Device(File),
    Named { file: File, temporary: PathBuf, name: PathBuf, finished: bool },
}

impl Destination {
    fn open(path: &Path) -> Result<Destination, Failed> {
        if path.as_os_str() == "-" {
            return Ok(Destination::Output(io::stdout()));
        }
        let fail = |error: io::Error| Failed(format!("Error opening '{}': {}", path.display(), reason(&error)));
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return File::options().write(true).open(path).map(Destination::Device).map_err(fail);
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.part", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let file = File::create(&temporary).map_err(fail)?;
        Ok(Destination::Named { file, temporary, name: path.to_path_buf(), finished: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Destination::Output(out) => out.write_all(bytes),
            Destination::Device(file) | Destination::Named { file, .. } => file.write_all(bytes),
        }
    }

    fn finish(mut self) -> io::Result<()> {
        match &mut self {
            Destination::Output(out) => out.flush(),
            Destination::Device(_) => Ok(()),
            Destination::Named { file, temporary, name, finished } => {
                file.sync_all()?;
                fs::rename(temporary, name)?;
                *finished = true;
                Ok(())
            }
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Destination::Named { temporary, finished: false, .. } = self {
            let _ = fs::remove_file(temporary);
        }
    }
}
