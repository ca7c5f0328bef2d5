//! How far a large file was read, for who watches.

use std::io::{self, IsTerminal, Read, Write};

/// Smaller files are read before anybody wonders.
const FILE_BYTES_MIN: u64 = 64 << 20;

/// A source that shows, on a terminal, how much of it was read.
pub(crate) struct Watched<R> {
    source: R,
    size_bytes: u64,
    read_bytes: u64,
    /// The percentage on the terminal; none if nothing is to be shown.
    percent: Option<u64>,
}

impl<R: Read> Watched<R> {
    pub(crate) fn new(source: R, size_bytes: u64) -> Watched<R> {
        let is_shown = size_bytes >= FILE_BYTES_MIN && io::stderr().is_terminal();
        Watched { source, size_bytes, read_bytes: 0, percent: is_shown.then_some(0) }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read_bytes += count as u64;
        if let Some(before) = self.percent {
            let percent = self.read_bytes * 100 / self.size_bytes;
            if percent > before {
                self.percent = Some(percent);
                let _ = write!(io::stderr(), "\r{percent:3} % of {} MiB ", self.size_bytes >> 20);
            }
        }
        Ok(count)
    }
}

impl<R> Drop for Watched<R> {
    fn drop(&mut self) {
        if self.percent.is_some() {
            let _ = write!(io::stderr(), "\r{:32}\r", "");
        }
    }
}
