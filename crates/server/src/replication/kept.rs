//! What comes of the stream while its snapshot is on its way, beyond what is kept in memory.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use crate::operation::LOG;

/// Bytes in the order in which they have come: in a file that goes with its handle, and if the disk does not take them, those that had been read by then.
#[derive(Debug, Default)]
pub(super) struct Spilled {
    file: Option<File>,
    /// How many there are in the file, and up to where they were taken.
    len: u64,
    at: u64,
    rest: Vec<u8>,
    is_stuck: bool,
}

impl Spilled {
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.len && self.rest.is_empty()
    }

    /// The disk takes no more: the socket has to hold the rest.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        if let Err(error) = self.write(bytes) {
            LOG.warning(&format!(
                "What our primary sends during the synchronization cannot be kept on disk: {error}. It has to keep it itself until we have loaded its \
                 snapshot."
            ));
            self.rest = bytes.to_vec();
            self.is_stuck = true;
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let path = format!("temp-primary-{}.log", std::process::id());
                let file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
                std::fs::remove_file(&path)?;
                LOG.notice(
                    "More is written at our primary than is kept in memory during a synchronization (replica-full-sync-buffer-limit): the \
                     rest goes to disk.",
                );
                self.file.insert(file)
            }
        };
        // A part that was written before an error is written over, or never read.
        file.write_all_at(bytes, self.len)?;
        file.flush()?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Takes at most so many of the oldest, behind what is in `into`. False if there is none.
    pub(super) fn take(&mut self, max: usize, into: &mut Vec<u8>) -> io::Result<bool> {
        let left = self.len - self.at;
        if let Some(file) = self.file.as_ref().filter(|_| left > 0) {
            let count = left.min(max as u64) as usize;
            let filled = into.len();
            into.resize(filled + count, 0);
            file.read_exact_at(&mut into[filled..], self.at)?;
            self.at += count as u64;
            return Ok(true);
        }
        let has_rest = !self.rest.is_empty();
        into.append(&mut self.rest);
        *self = Spilled::default();
        Ok(has_rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_in_order() {
        let mut spilled = Spilled::default();
        let (mut taken, mut put) = (Vec::new(), Vec::new());
        assert!(!spilled.take(10, &mut taken).unwrap());
        for round in 0..3_u8 {
            for piece in 0..50_u8 {
                let bytes = vec![round ^ piece; usize::from(piece) + 1];
                spilled.put(&bytes);
                put.extend(bytes);
            }
            assert!(!spilled.is_empty() && !spilled.is_stuck());
            while spilled.take(17, &mut taken).unwrap() {}
            assert!(spilled.is_empty());
            assert_eq!(taken, put);
        }
    }
}
