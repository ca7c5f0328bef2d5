//! A snapshot on its way to replicas: pieces that the job's walkers put in at one end and the feeder sends to each replica from the other.
//!
//! At most [`WAITING_BYTES_MAX`] wait here: whoever writes waits until the slowest replica has taken some. The walk over the keyspace does not wait
//! with them: what it captures meanwhile is spilled to disk.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use replication::LinkId;

/// So many bytes are on their way between the snapshot and the slowest replica.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// How soon a writer notices that nobody wants the snapshot any more.
const LOOK: Duration = Duration::from_millis(100);

/// What it is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is made, between two marks.
    Stream([u8; 40]),
    /// As a file, when it is whole, with its length in front.
    File,
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer").field("form", &self.form).field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// A snapshot for these replicas.
pub struct Transfer {
    pub form: Form,
    /// Where the log was cut with it.
    pub offset: u64,
    /// Wakes the feeder.
    wake: Box<dyn Fn() + Send + Sync>,
    state: Mutex<State>,
    room: Condvar,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Arc<Vec<u8>>>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    /// Which piece each replica gets next.
    next: BTreeMap<LinkId, u64>,
    end: Option<End>,
}

/// How it has ended.
#[derive(Clone, Debug)]
pub enum End {
    /// Everything is in, here or in this file.
    Whole(Option<Arc<File>>),
    Failed,
}

/// What there is for a replica.
pub enum Next {
    Piece(Arc<Vec<u8>>),
    /// Nothing yet.
    Later,
    End(End),
}

impl Transfer {
    pub fn new(form: Form, offset: u64, links: &[LinkId], wake: impl Fn() + Send + Sync + 'static) -> Transfer {
        let state = State { next: links.iter().map(|link| (*link, 0)).collect(), ..State::default() };
        Transfer { form, offset, wake: Box::new(wake), state: Mutex::new(state), room: Condvar::new() }
    }

    /// Puts a piece in, when there is room for it.
    ///
    /// # Errors
    /// `Interrupted`: nobody wants it any more.
    pub fn write(&self, piece: &[u8]) -> io::Result<()> {
        let piece = Arc::new(piece.to_vec());
        let mut state = self.state.lock();
        while state.bytes >= WAITING_BYTES_MAX && !state.next.is_empty() {
            self.room.wait_for(&mut state, LOOK);
        }
        if state.next.is_empty() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        state.bytes += piece.len();
        state.pieces.push_back(piece);
        drop(state);
        (self.wake)();
        Ok(())
    }

    /// It is whole, or will never be.
    pub fn end(&self, end: End) {
        self.state.lock().end.get_or_insert(end);
        (self.wake)();
    }

    /// The next piece for this replica.
    pub fn next(&self, link: LinkId) -> Next {
        let mut state = self.state.lock();
        let State { pieces, first, next, end, .. } = &mut *state;
        let Some(number) = next.get_mut(&link) else {
            return Next::End(End::Failed);
        };
        match pieces.get((*number - *first) as usize) {
            Some(piece) => {
                *number += 1;
                let piece = piece.clone();
                self.let_go(&mut state);
                Next::Piece(piece)
            }
            None => end.clone().map_or(Next::Later, Next::End),
        }
    }

    /// The replica has gone, or has all.
    pub fn leave(&self, link: LinkId) {
        let mut state = self.state.lock();
        state.next.remove(&link);
        self.let_go(&mut state);
    }

    /// Forgets the pieces that everybody has.
    fn let_go(&self, state: &mut State) {
        let needed = state.next.values().min().copied().unwrap_or(u64::MAX);
        let mut any = false;
        while state.first < needed
            && let Some(piece) = state.pieces.pop_front()
        {
            state.first += 1;
            state.bytes -= piece.len();
            any = true;
        }
        if any || state.next.is_empty() {
            self.room.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(links: &[u64]) -> Transfer {
        let links: Vec<LinkId> = links.iter().map(|link| LinkId(*link)).collect();
        Transfer::new(Form::Stream([b'x'; 40]), 0, &links, || {})
    }

    fn taken(transfer: &Transfer, link: u64) -> Option<usize> {
        match transfer.next(LinkId(link)) {
            Next::Piece(piece) => Some(piece.len()),
            Next::Later | Next::End(_) => None,
        }
    }

    #[test]
    fn each_replica_gets_each_piece_once_and_the_slowest_holds_the_writer() {
        let transfer = transfer(&[1, 2]);
        let piece = vec![0; WAITING_BYTES_MAX / 2];
        transfer.write(&piece).unwrap();
        transfer.write(&piece).unwrap();
        assert_eq!(
            (taken(&transfer, 1), taken(&transfer, 1), taken(&transfer, 1)),
            (Some(piece.len()), Some(piece.len()), None)
        );
        std::thread::scope(|scope| {
            let third = scope.spawn(|| transfer.write(&[3; 3]));
            assert_eq!(taken(&transfer, 2), Some(piece.len()));
            third.join().unwrap().unwrap();
        });
        assert_eq!(
            (taken(&transfer, 2), taken(&transfer, 2), taken(&transfer, 1)),
            (Some(piece.len()), Some(3), Some(3))
        );
        transfer.end(End::Whole(None));
        assert!(matches!(transfer.next(LinkId(2)), Next::End(End::Whole(None))));
    }

    #[test]
    fn a_writer_does_not_wait_for_replicas_that_have_gone() {
        let transfer = transfer(&[1]);
        transfer.write(&vec![0; WAITING_BYTES_MAX]).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| transfer.write(&[1]));
            transfer.leave(LinkId(1));
            assert_eq!(second.join().unwrap().unwrap_err().kind(), io::ErrorKind::Interrupted);
        });
    }
}
