//! A snapshot on its way to replicas: pieces that the job's walkers put in at one end and the feeder sends to each replica from the other.
//!
//! When [`WAITING_BYTES_MAX`] wait here for the slowest replica there is no [room](Transfer::wait_for_room). The walk over the keyspace does not wait for it:
//! what it captures meanwhile is spilled to disk.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use replication::LinkId;

/// So many bytes are on their way between the snapshot and the slowest replica.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// A piece is not made larger than this by what comes behind it.
const PIECE_BYTES: usize = 64 << 10;

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
    /// The piece behind them, which nobody has taken yet. What is written goes there: walkers write little at a time, and a wake-up and a system
    /// call for each would cost more than all else.
    growing: Vec<u8>,
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

    /// Whether there is room for more, now or within this time.
    ///
    /// # Errors
    /// `Interrupted`: nobody wants it any more.
    pub fn wait_for_room(&self, at_most: Duration) -> io::Result<bool> {
        let mut state = self.state.lock();
        let is_full = |state: &mut State| state.bytes >= WAITING_BYTES_MAX && !state.next.is_empty();
        if !at_most.is_zero() {
            self.room.wait_while_for(&mut state, is_full, at_most);
        }
        if state.next.is_empty() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(!is_full(&mut state))
    }

    /// Puts a piece in, whether there is room for it or not.
    ///
    /// # Errors
    /// `Interrupted`: nobody wants it any more.
    pub fn write(&self, piece: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.next.is_empty() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        state.bytes += piece.len();
        // Whoever was woken for the first bytes takes those behind them too.
        let is_first = state.growing.is_empty();
        if !is_first && state.growing.len() + piece.len() > PIECE_BYTES {
            state.close_piece();
        }
        if state.growing.is_empty() {
            // What grows by being copied takes twice what it holds.
            state.growing.reserve_exact(piece.len().max(PIECE_BYTES));
        }
        state.growing.extend_from_slice(piece);
        if state.growing.len() >= PIECE_BYTES {
            state.close_piece();
        }
        drop(state);
        if is_first {
            (self.wake)();
        }
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
        let Some(number) = state.next.get(&link) else {
            return Next::End(End::Failed);
        };
        if *number == state.first + state.pieces.len() as u64 && !state.growing.is_empty() {
            state.close_piece();
        }
        let State { pieces, first, next, end, .. } = &mut *state;
        let number = next.get_mut(&link).expect("it was there just now");
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

impl State {
    fn close_piece(&mut self) {
        let piece = std::mem::take(&mut self.growing);
        self.pieces.push_back(Arc::new(piece));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

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

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn each_replica_gets_each_piece_once_and_the_slowest_decides_whether_there_is_room() {
        let transfer = transfer(&[1, 2]);
        let piece = vec![0; WAITING_BYTES_MAX / 2];
        transfer.write(&piece).unwrap();
        assert!(transfer.wait_for_room(Duration::ZERO).unwrap());
        transfer.write(&piece).unwrap();
        assert_eq!(
            (taken(&transfer, 1), taken(&transfer, 1), taken(&transfer, 1)),
            (Some(piece.len()), Some(piece.len()), None)
        );
        std::thread::scope(|scope| {
            assert!(!transfer.wait_for_room(Duration::ZERO).unwrap());
            let room = scope.spawn(|| transfer.wait_for_room(PATIENCE));
            assert_eq!(taken(&transfer, 2), Some(piece.len()));
            assert!(room.join().unwrap().unwrap());
        });
        transfer.write(&[3; 3]).unwrap();
        assert_eq!(
            (taken(&transfer, 2), taken(&transfer, 2), taken(&transfer, 1)),
            (Some(piece.len()), Some(3), Some(3))
        );
        transfer.end(End::Whole(None));
        assert!(matches!(transfer.next(LinkId(2)), Next::End(End::Whole(None))));
    }

    #[test]
    fn what_nobody_has_taken_yet_grows_and_wakes_once() {
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = woken.clone();
        let wake = move || {
            counter.fetch_add(1, Relaxed);
        };
        let transfer = Transfer::new(Form::File, 0, &[LinkId(1), LinkId(2)], wake);
        for byte in 0..100 {
            transfer.write(&[byte]).unwrap();
        }
        assert_eq!((woken.load(Relaxed), taken(&transfer, 1), taken(&transfer, 1)), (1, Some(100), None));
        transfer.write(&[0; 7]).unwrap();
        assert_eq!((woken.load(Relaxed), taken(&transfer, 1), taken(&transfer, 2)), (2, Some(7), Some(100)));
        transfer.write(&vec![0; PIECE_BYTES]).unwrap();
        transfer.write(&[0; 9]).unwrap();
        transfer.end(End::Whole(None));
        for rest in [Some(PIECE_BYTES), Some(9), None] {
            assert_eq!(taken(&transfer, 1), rest);
        }
        assert!(matches!(transfer.next(LinkId(1)), Next::End(End::Whole(None))));
        assert_eq!(taken(&transfer, 2), Some(7));
    }

    #[test]
    fn a_writer_does_not_wait_for_replicas_that_have_gone() {
        let transfer = transfer(&[1]);
        transfer.write(&vec![0; WAITING_BYTES_MAX]).unwrap();
        std::thread::scope(|scope| {
            let room = scope.spawn(|| transfer.wait_for_room(PATIENCE));
            transfer.leave(LinkId(1));
            assert_eq!(room.join().unwrap().unwrap_err().kind(), io::ErrorKind::Interrupted);
        });
        assert_eq!(transfer.write(&[1]).unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
