//! The log in memory: who appends, who reads, how far it is safe.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, fence};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::batch::{Batch, Destinations};
use crate::block::Chunk;
use crate::planted::planted;
use crate::stream::Stream;

pub(crate) const DESTINATIONS: usize = 2;

/// One of the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Aof = 0,
    Replicas = 1,
}

impl Destination {
    const ALL: [Destination; DESTINATIONS] = [Destination::Aof, Destination::Replicas];

    fn bit(self) -> Destinations {
        match self {
            Destination::Aof => Destinations::AOF,
            Destination::Replicas => Destinations::REPLICAS,
        }
    }
}

/// Where the streams end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tails {
    pub aof: u64,
    pub replicas: u64,
}

/// Why writing commands should wait although nothing is wrong yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Congestion {
    /// More is waiting to be written than may wait.
    Memory = 1,
    /// A synchronisation of the disk takes longer than what may be lost.
    Sync = 2,
    /// More than may wait in memory is waiting for replicas.
    Replicas = 4,
}

/// The log in memory.
///
/// - *Does appending stop the event loops?* It copies under one short lock. Nothing is allocated, written or waited for there but
///   a new block every 64 KiB.
/// - *Does its order agree with the data?* Yes: whoever appends still holds the shards that it changed.
/// - *Does it grow without bound?* Its readers let go as they get on. One that cannot (a disk that hangs) makes it
///   [congested](Self::is_congested) at `aof_bytes_max`, and commands that write have to wait outside from then on. What is
///   in execution already is still appended: it has happened. Where the replicas' stream is [bounded](Self::bound_replicas), its readers have the same effect.
pub struct Journal {
    state: Mutex<State>,
    /// Where the append-only file's writer sleeps.
    aof_wake: Condvar,
    wanted: AtomicU8,
    annotate: AtomicBool,
    congestion: AtomicU8,
    tails: [AtomicU64; DESTINATIONS],
    durable: AtomicU64,
    answerable: AtomicU64,
    aof_bytes_max: u64,
    /// What is executed here is not for replicas: they get what our own primary sends.
    relaying: AtomicBool,
    /// The end of the replicas' stream at which its feeder wants to be woken; out of reach while it is awake.
    feed_at: AtomicU64,
    feeder: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

struct State {
    streams: [Stream; DESTINATIONS],
    /// The units and bytes of the AOF stream at which its writer wants to be woken; out of reach while it is awake.
    wake_at_units: u64,
    wake_at_bytes: u64,
    /// Somebody wants the writer to look round, whatever has been appended.
    roused: bool,
    /// The end of the replicas' stream at which writes wait.
    hold_at: u64,
    /// Up to where the AOF stream is in a file, safe or not.
    written: u64,
    /// Offsets of the AOF stream at which a new file begins. They live here rather than with the writer, who must not run past one
    /// between the cut and hearing of it.
    rotations: VecDeque<u64>,
}

impl Journal {
    /// An empty journal that nobody reads. Congested when more than `aof_bytes_max` bytes wait to be written.
    pub fn new(aof_bytes_max: u64) -> Journal {
        Journal {
            state: Mutex::new(State {
                streams: [Stream::new(), Stream::new()],
                wake_at_units: u64::MAX,
                wake_at_bytes: u64::MAX,
                roused: false,
                hold_at: u64::MAX,
                written: 0,
                rotations: VecDeque::new(),
            }),
            aof_wake: Condvar::new(),
            wanted: AtomicU8::new(0),
            annotate: AtomicBool::new(false),
            congestion: AtomicU8::new(0),
            tails: Default::default(),
            durable: AtomicU64::new(0),
            answerable: AtomicU64::new(0),
            aof_bytes_max,
            relaying: AtomicBool::new(false),
            feed_at: AtomicU64::new(u64::MAX),
            feeder: OnceLock::new(),
        }
    }

    /// Puts a batch at the end and empties it; says where the streams end now. Call it before you let go of what you have changed.
    ///
    /// # Panics
    /// In the middle of a unit: the streams grow by whole units only.
    pub fn append(&self, batch: &mut Batch, unix_seconds: u64) -> Tails {
        assert!(!batch.is_in_unit(), "half a unit does not go into the journal");
        if batch.is_empty() {
            return self.tails();
        }
        let second = self.annotate.load(Relaxed).then_some(unix_seconds);
        let feeds = !batch.parts[Destination::Replicas as usize].bytes.is_empty();
        let commands = batch.parts[Destination::Aof as usize].commands;
        let mut state = self.state.lock();
        for destination in Destination::ALL {
            let part = &mut batch.parts[destination as usize];
            if !part.bytes.is_empty() {
                let stream = &mut state.streams[destination as usize];
                debug_assert!(stream.has_readers(), "what nobody reads is not encoded");
                stream.append(part, second.filter(|_| destination == Destination::Aof));
                self.tails[destination as usize].store(stream.end(), Release);
            }
        }
        let replicas = &mut state.streams[Destination::Replicas as usize];
        if !feeds && !replicas.has_readers() && !self.relaying.load(Relaxed) {
            // Without replicas Redis 8.2 and Valkey 9.1 count commands for the file instead of bytes (`a_file_alone_counts_commands`).
            replicas.begin_at(replicas.end() + commands);
            self.tails[Destination::Replicas as usize].store(replicas.end(), Release);
        }
        let [aof, replicas] = &state.streams;
        let tails = Tails { aof: aof.end(), replicas: replicas.end() };
        let wake = aof.units() >= state.wake_at_units || aof.end() >= state.wake_at_bytes;
        if tails.aof - state.written > self.aof_bytes_max {
            self.congestion.fetch_or(Congestion::Memory as u8, Relaxed);
        }
        if tails.replicas >= state.hold_at {
            self.note_held(&state);
        }
        if wake {
            // Once is enough, however much is appended before it has the lock.
            (state.wake_at_units, state.wake_at_bytes) = (u64::MAX, u64::MAX);
        }
        drop(state);
        if wake {
            self.aof_wake.notify_one();
        }
        if feeds {
            self.wake_feeder(tails.replicas);
        }
        tails
    }

    /// Puts bytes behind the end of the replicas' stream as they are: whole units that our own primary has sent, or a word to all replicas. Says where
    /// it ends now.
    pub fn append_to_replicas(&self, bytes: &[u8]) -> u64 {
        let mut state = self.state.lock();
        let stream = &mut state.streams[Destination::Replicas as usize];
        stream.append_raw(bytes);
        let end = stream.end();
        self.tails[Destination::Replicas as usize].store(end, Release);
        if end >= state.hold_at {
            self.note_held(&state);
        }
        drop(state);
        self.wake_feeder(end);
        end
    }

    /// The replicas' stream begins anew at this offset, empty. On the wide side, without readers.
    pub fn begin_replicas_at(&self, offset: u64) {
        self.state.lock().streams[Destination::Replicas as usize].begin_at(offset);
        self.tails[Destination::Replicas as usize].store(offset, Release);
    }

    /// Whether what is executed here is kept from the replicas' stream, which is relayed. On the wide side.
    pub fn set_relaying(&self, relaying: bool) {
        self.relaying.store(relaying, Relaxed);
    }

    pub fn has_readers(&self, destination: Destination) -> bool {
        self.state.lock().streams[destination as usize].has_readers()
    }

    /// Whom to wake when the replicas' stream grows: once, before anybody reads it.
    pub fn set_feeder(&self, wake: impl Fn() + Send + Sync + 'static) {
        let is_first = self.feeder.set(Box::new(wake)).is_ok();
        assert!(is_first, "there is one feeder");
    }

    /// The feeder wants to be woken when the replicas' stream reaches this offset; false if it has already.
    pub fn wake_feeder_at(&self, offset: u64) -> bool {
        self.feed_at.store(offset, SeqCst);
        // What was appended just before has not seen it.
        fence(SeqCst);
        if self.tail(Destination::Replicas) >= offset {
            self.feed_at.store(u64::MAX, Relaxed);
            return false;
        }
        true
    }

    /// Of the replicas' stream behind `from`, at most `bytes_max` wait in memory from now on: then writes wait, until this is called with a `from` further
    /// on, or none. True if they did, and do not any more.
    ///
    /// Blocks go round meanwhile. The allocator would keep those that one thread takes and another gives back, and have several times the memory that
    /// is in use.
    pub fn bound_replicas(&self, from: Option<u64>, bytes_max: u64) -> bool {
        let mut state = self.state.lock();
        state.hold_at = from.map_or(u64::MAX, |from| from + bytes_max);
        let stream = &mut state.streams[Destination::Replicas as usize];
        let needless = stream.keep_spare_bytes(from.map_or(0, |_| bytes_max));
        let held = self.congestion.load(Relaxed) & Congestion::Replicas as u8 != 0;
        let holds = self.note_held(&state);
        drop(state);
        // Outside of the lock: there may be many.
        drop(needless);
        held && !holds
    }

    /// Whether the replicas' stream has come to where writes wait.
    fn note_held(&self, state: &State) -> bool {
        let holds = state.streams[Destination::Replicas as usize].end() >= state.hold_at;
        match holds {
            true => self.congestion.fetch_or(Congestion::Replicas as u8, Relaxed),
            false => self.congestion.fetch_and(!(Congestion::Replicas as u8), Relaxed),
        };
        holds
    }

    #[inline]
    fn wake_feeder(&self, end: u64) {
        // Either the feeder sees the tail that was stored before, or its wish is seen here.
        fence(SeqCst);
        if end >= self.feed_at.load(Relaxed)
            && self.feed_at.swap(u64::MAX, Relaxed) <= end
            && let Some(wake) = self.feeder.get()
        {
            wake();
        }
    }

    /// Who reads: what nobody reads need not be encoded. Changes on the wide side only.
    #[inline]
    pub fn wanted(&self) -> Destinations {
        let wanted = Destinations::from_bits_retain(self.wanted.load(Relaxed));
        if self.relaying.load(Relaxed) { wanted & Destinations::AOF } else { wanted }
    }

    #[inline]
    pub fn is_wanted(&self, destination: Destination) -> bool {
        self.wanted().contains(destination.bit())
    }

    /// Where the streams end. Read under the access in which a command ran, it covers everything that the command could see.
    #[inline]
    pub fn tails(&self) -> Tails {
        Tails { aof: self.tail(Destination::Aof), replicas: self.tail(Destination::Replicas) }
    }

    #[inline]
    pub fn tail(&self, destination: Destination) -> u64 {
        self.tails[destination as usize].load(Acquire)
    }

    /// Up to where the AOF stream outlives a power failure.
    #[inline]
    pub fn durable(&self) -> u64 {
        self.durable.load(Acquire)
    }

    /// Up to where replies may leave that wait for the disk (`appendfsync always`). It is [`durable`](Self::durable), unless the user
    /// prefers not to wait while a snapshot is written (`no-appendfsync-on-rewrite`).
    #[inline]
    pub fn answerable(&self) -> u64 {
        self.answerable.load(Acquire)
    }

    /// Whether commands that write should wait before they begin: the disk is behind by more than may be.
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.congestion.load(Relaxed) != 0
    }

    /// Whether the AOF stream notes the second of its units (`aof-timestamp-enabled`).
    pub fn annotate_time(&self, annotate: bool) {
        self.annotate.store(annotate, Relaxed);
    }

    /// Bytes of the stream that are in memory.
    pub fn memory_bytes(&self, destination: Destination) -> u64 {
        let state = self.state.lock();
        let stream = &state.streams[destination as usize];
        stream.end() - stream.begin()
    }

    /// The first offset of the stream that is in memory.
    pub fn first(&self, destination: Destination) -> u64 {
        self.state.lock().streams[destination as usize].begin()
    }

    /// The stream's end as a place to begin at: what comes next begins with SELECT. On the wide side.
    pub fn cut(&self, destination: Destination) -> u64 {
        self.state.lock().streams[destination as usize].cut()
    }

    /// A [cut](Self::cut) of the AOF stream, behind which its writer begins a new file. On the wide side, with the cut of a snapshot.
    pub(crate) fn rotate(&self) -> u64 {
        let mut state = self.state.lock();
        let at = state.streams[Destination::Aof as usize].cut();
        // Early by a few bytes, the planted bug leaves the end of a unit to the next file.
        let early = if planted("half-multi") { 7 } else { 0 };
        let at_planted = at.saturating_sub(early).max(state.written);
        state.rotations.push_back(at_planted);
        state.roused = true;
        drop(state);
        self.aof_wake.notify_one();
        at
    }

    /// The writer has gone over to the next file, or cannot.
    pub(crate) fn end_rotation(&self) -> u64 {
        self.state.lock().rotations.pop_front().expect("it was ahead")
    }

    /// Whether a rotation up to this offset is still ahead.
    pub(crate) fn is_rotation_ahead(&self, offset: u64) -> bool {
        self.state.lock().rotations.iter().any(|&at| at <= offset)
    }

    /// A reader that begins at the end, as behind a [cut](Self::cut). On the wide side: what is executed after this is encoded.
    pub fn reader(self: &Arc<Self>, destination: Destination) -> Reader {
        let begin = self.cut(destination);
        self.reader_at(destination, begin).expect("the end is always there")
    }

    /// A reader that begins at an offset which another reader has kept in memory, a backlog for instance; none if it is gone.
    /// On the wide side.
    pub fn reader_at(self: &Arc<Self>, destination: Destination, offset: u64) -> Option<Reader> {
        let mut state = self.state.lock();
        let stream = &mut state.streams[destination as usize];
        if !(stream.begin()..=stream.end()).contains(&offset) {
            return None;
        }
        let number = stream.add_reader(offset);
        if destination == Destination::Aof {
            state.written = state.written.max(offset);
        }
        self.wanted.fetch_or(destination.bit().bits(), Relaxed);
        Some(Reader { journal: self.clone(), destination, number })
    }

    /// The writer sleeps until the AOF stream has so many units or bytes, until it is roused, or until the deadline; whether it was roused.
    pub(crate) fn sleep(&self, at_units: u64, at_bytes: u64, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        loop {
            let aof = &state.streams[Destination::Aof as usize];
            if state.roused || aof.units() >= at_units || aof.end() >= at_bytes {
                break;
            }
            (state.wake_at_units, state.wake_at_bytes) = (at_units, at_bytes);
            match deadline {
                None => self.aof_wake.wait(&mut state),
                Some(deadline) => {
                    if self.aof_wake.wait_until(&mut state, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        (state.wake_at_units, state.wake_at_bytes) = (u64::MAX, u64::MAX);
        std::mem::take(&mut state.roused)
    }

    /// So many bytes of the AOF stream's blocks are kept for use again from now on.
    pub(crate) fn keep_spare(&self, bytes: u64) {
        let needless = self.state.lock().streams[Destination::Aof as usize].keep_spare_bytes(bytes);
        // Outside of the lock: there may be many.
        drop(needless);
    }

    /// Lets go of blocks of the AOF stream that nobody has needed since the last call; whether there is more to let go of later.
    pub(crate) fn trim_spare(&self) -> bool {
        let mut state = self.state.lock();
        let stream = &mut state.streams[Destination::Aof as usize];
        let needless = stream.trim_spare();
        let has_more = stream.has_spare_to_trim();
        drop(state);
        drop(needless);
        has_more
    }

    /// The writer looks round soon.
    pub(crate) fn rouse(&self) {
        self.state.lock().roused = true;
        self.aof_wake.notify_one();
    }

    /// Says up to where the AOF stream is safe.
    pub(crate) fn publish_durable(&self, offset: u64) {
        let before = self.durable.swap(offset, Release);
        assert!(before <= offset, "what was durable stays so");
        self.publish_answerable(offset);
    }

    /// Whether that is news.
    pub(crate) fn publish_answerable(&self, offset: u64) -> bool {
        self.answerable.fetch_max(offset, Release) < offset
    }

    /// Up to where the AOF stream is in a file.
    pub fn written(&self) -> u64 {
        self.state.lock().written
    }

    /// Says up to where the AOF stream is in a file. Goes back when a file turns out not to hold it.
    pub(crate) fn publish_written(&self, offset: u64) {
        let mut state = self.state.lock();
        state.written = offset;
        let waiting = state.streams[Destination::Aof as usize].end() - offset;
        // With some distance, so that what waited does not find it full again at once.
        if waiting <= self.aof_bytes_max / 2 {
            self.congestion.fetch_and(!(Congestion::Memory as u8), Relaxed);
        }
    }

    pub(crate) fn publish_slow_sync(&self, is_slow: bool) {
        match is_slow {
            true => self.congestion.fetch_or(Congestion::Sync as u8, Relaxed),
            false => self.congestion.fetch_and(!(Congestion::Sync as u8), Relaxed),
        };
    }
}

/// Somebody who reads a stream at their own pace; the stream stays in memory from where they are. Dropped on the wide side.
pub struct Reader {
    journal: Arc<Journal>,
    destination: Destination,
    number: usize,
}

impl Reader {
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Up to where it has let go.
    pub fn released(&self) -> u64 {
        self.journal.state.lock().streams[self.destination as usize].released(self.number)
    }

    /// Adds what lies behind `from`, at most about `bytes_max`, to `chunks`, and says what that is. Where it ends at the stream's end, it ends
    /// behind a whole unit. The AOF's writer gets nothing from behind the next rotation.
    ///
    /// # Panics
    /// When the reader has let go of `from`.
    pub fn read(&self, from: u64, bytes_max: usize, chunks: &mut Vec<Chunk>) -> Read {
        let state = self.journal.state.lock();
        let stream = &state.streams[self.destination as usize];
        assert!(stream.released(self.number) <= from, "what was let go is gone");
        let rotation = state.rotations.front().copied().filter(|_| self.destination == Destination::Aof);
        let end = stream.read(from, rotation.unwrap_or(u64::MAX), bytes_max, chunks);
        Read { end, is_all: end == stream.end(), units: stream.units(), is_rotation: rotation == Some(end) }
    }

    /// Lets go of what lies before `offset`.
    pub fn release(&self, offset: u64) {
        self.journal.state.lock().streams[self.destination as usize].release(self.number, offset);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.journal.state.lock();
        let stream = &mut state.streams[self.destination as usize];
        stream.remove_reader(self.number);
        let mut needless = Vec::new();
        if !stream.has_readers() {
            self.journal.wanted.fetch_and(!self.destination.bit().bits(), Relaxed);
            if self.destination == Destination::Aof {
                needless = stream.keep_spare_bytes(0);
                // Nobody will write what waits, so nobody has to wait for it.
                state.rotations.clear();
                self.journal.congestion.fetch_and(Congestion::Replicas as u8, Relaxed);
            }
        }
        drop(state);
        drop(needless);
    }
}

/// What [`Reader::read`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The offset behind it.
    pub end: u64,
    /// There was nothing behind it.
    pub is_all: bool,
    /// Units in the stream so far.
    pub units: u64,
    /// A new file begins here.
    pub(crate) is_rotation: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    fn append(journal: &Journal, batch: &mut Batch, units: &[&[(u32, &str)]], second: u64) -> Tails {
        batch.serve(journal.wanted());
        for unit in units {
            batch.unit_begin();
            for (db, words) in *unit {
                batch.effect(*db, &words.split(' ').collect::<Vec<_>>(), Destinations::all());
            }
            batch.unit_end();
        }
        journal.append(batch, second)
    }

    fn everything(reader: &Reader, from: u64) -> Vec<u8> {
        let mut chunks = Vec::new();
        let read = reader.read(from, usize::MAX, &mut chunks);
        assert!(read.is_all);
        joined(&chunks)
    }

    fn joined(chunks: &[Chunk]) -> Vec<u8> {
        chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace("\r\n", " ")
    }

    #[test]
    fn a_reader_begins_with_select_and_so_does_what_follows_a_cut() {
        let journal = Arc::new(Journal::new(u64::MAX));
        let mut batch = Batch::new();
        assert_eq!(append(&journal, &mut batch, &[&[(0, "DEL a")]], 0), Tails::default());
        let reader = journal.reader(Destination::Aof);
        assert!(journal.is_wanted(Destination::Aof) && !journal.is_wanted(Destination::Replicas));
        append(&journal, &mut batch, &[&[(0, "DEL a")], &[(0, "DEL b")]], 0);
        let tails = append(&journal, &mut batch, &[&[(0, "DEL c")], &[(1, "DEL d")]], 0);
        assert_eq!(tails, journal.tails());
        let cut = journal.cut(Destination::Aof);
        assert_eq!(cut, tails.aof);
        append(&journal, &mut batch, &[&[(1, "DEL e"), (1, "DEL f")]], 0);
        let head = "*2 $6 SELECT $1 0 *2 $3 DEL $1 a *2 $3 DEL $1 b *2 $3 DEL $1 c *2 $6 SELECT $1 1 *2 $3 DEL $1 d ";
        let tail = "*2 $6 SELECT $1 1 *1 $5 MULTI *2 $3 DEL $1 e *2 $3 DEL $1 f *1 $4 EXEC ";
        assert_eq!(text(&everything(&reader, 0)), format!("{head}{tail}"));
        assert_eq!(text(&everything(&reader, cut)), tail);
        drop(reader);
        assert_eq!((journal.wanted(), journal.memory_bytes(Destination::Aof)), (Destinations::empty(), 0));
    }

    #[test]
    fn seconds_are_noted_between_units() {
        let journal = Arc::new(Journal::new(u64::MAX));
        journal.annotate_time(true);
        let mut batch = Batch::new();
        let (aof, replicas) = (journal.reader(Destination::Aof), journal.reader(Destination::Replicas));
        append(&journal, &mut batch, &[&[(0, "DEL a")]], 7);
        append(&journal, &mut batch, &[&[(0, "DEL b"), (0, "DEL c")]], 7);
        append(&journal, &mut batch, &[&[(0, "DEL d")]], 8);
        journal.cut(Destination::Aof);
        append(&journal, &mut batch, &[&[(0, "DEL e")]], 8);
        assert_eq!(
            text(&everything(&aof, 0)),
            "#TS:7 *2 $6 SELECT $1 0 *2 $3 DEL $1 a *1 $5 MULTI *2 $3 DEL $1 b *2 $3 DEL $1 c *1 $4 EXEC \
             #TS:8 *2 $3 DEL $1 d #TS:8 *2 $6 SELECT $1 0 *2 $3 DEL $1 e "
        );
        assert!(!text(&everything(&replicas, 0)).contains("#TS"));
    }

    /// Readers at their own pace against a plain vector: everybody reads the same bytes, and no more memory is held than the slowest needs.
    #[test]
    fn readers_and_blocks_against_a_model() {
        let mut random = testkit::random_from(testkit::seed());
        for _ in 0..30 {
            let journal = Arc::new(Journal::new(u64::MAX));
            let mut batch = Batch::new();
            // The model: all bytes since the first reader, who never lets go of any.
            let witness = journal.reader(Destination::Replicas);
            let mut readers: Vec<(Reader, u64)> = Vec::new();
            let mut held: Vec<(Vec<Chunk>, u64)> = Vec::new();
            for _ in 0..60 {
                match random.random_range(0..10) {
                    0..5 => {
                        let length = if random.random_bool(0.2) {
                            random.random_range(0..300_000)
                        } else {
                            random.random_range(0..5_000)
                        };
                        let letter = char::from(random.random_range(b'a'..=b'z')).to_string();
                        let value = format!("SET k {}", letter.repeat(length));
                        append(&journal, &mut batch, &[&[(random.random_range(0..2), &value)]], 0);
                    }
                    5 if readers.len() < 4 => {
                        let at = random.random_range(0..=journal.tail(Destination::Replicas));
                        readers.push((journal.reader_at(Destination::Replicas, at).unwrap(), at));
                    }
                    6 if !readers.is_empty() => {
                        readers.swap_remove(random.random_range(0..readers.len()));
                    }
                    _ if !readers.is_empty() => {
                        let index = random.random_range(0..readers.len());
                        let (reader, at) = &mut readers[index];
                        let mut chunks = Vec::new();
                        let end = reader.read(*at, random.random_range(1..200_000), &mut chunks).end;
                        held.push((chunks, *at));
                        *at = end;
                        reader.release(random.random_range(reader.released()..=end));
                    }
                    _ => {}
                }
            }
            let model = everything(&witness, 0);
            for (chunks, at) in &held {
                let bytes = joined(chunks);
                assert!(model[*at as usize..].starts_with(&bytes));
            }
            held.clear();
            drop(witness);
            let needed = readers.iter().map(|(reader, _)| reader.released()).min().unwrap_or(model.len() as u64);
            let memory = journal.memory_bytes(Destination::Replicas);
            assert!(memory <= model.len() as u64 - needed + 310_000, "{memory} bytes are kept, {needed} is needed");
        }
    }

    #[test]
    fn a_reader_on_another_thread_sees_what_was_appended() {
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let journal = Arc::new(Journal::new(u64::MAX));
        let reader = journal.reader(Destination::Aof);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut batch = Batch::new();
                for _ in 0..rounds {
                    append(&journal, &mut batch, &[&[(0, "SET key value")]], 0);
                }
            });
            let (mut at, mut bytes) = (0, Vec::new());
            let total = 23 + rounds * 33;
            while at < total {
                journal.sleep(u64::MAX, at + 1, None);
                let mut chunks = Vec::new();
                at = reader.read(at, usize::MAX, &mut chunks).end;
                chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
                reader.release(at);
            }
            let one = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n";
            assert!(bytes[23..].chunks(one.len()).all(|chunk| chunk == one));
        });
    }

    #[test]
    fn congested_until_half_is_written() {
        let journal = Arc::new(Journal::new(100));
        let _reader = journal.reader(Destination::Aof);
        let mut batch = Batch::new();
        let end = append(&journal, &mut batch, &[&[(0, &format!("SET a {}", "x".repeat(100)))]], 0).aof;
        assert!(journal.is_congested());
        journal.publish_written(end - 60);
        assert!(journal.is_congested());
        journal.publish_written(end - 50);
        assert!(!journal.is_congested());
    }

    #[test]
    fn congested_while_more_waits_for_replicas_than_may() {
        let journal = Arc::new(Journal::new(1 << 20));
        let aof = journal.reader(Destination::Aof);
        let _replica = journal.reader(Destination::Replicas);
        let mut batch = Batch::new();
        assert!(!journal.bound_replicas(Some(0), 100));
        journal.append_to_replicas(&[b'x'; 50]);
        assert!(!journal.is_congested());
        let end = append(&journal, &mut batch, &[&[(0, &format!("SET a {}", "x".repeat(50)))]], 0).replicas;
        assert!(journal.is_congested());
        // That nobody writes a file has nothing to do with it.
        drop(aof);
        assert!(!journal.bound_replicas(Some(end - 100), 100));
        assert!(journal.is_congested());
        assert!(journal.bound_replicas(Some(end - 99), 100));
        assert!(!journal.is_congested());
        assert_eq!(journal.append_to_replicas(b"x"), end + 1);
        assert!(journal.is_congested());
        assert!(journal.bound_replicas(None, 100));
        journal.append_to_replicas(&[b'x'; 1000]);
        assert!(!journal.is_congested());
    }

    /// As many as may wait are kept while there is a bound, and a few without.
    #[test]
    fn blocks_of_a_bounded_stream_go_round() {
        let journal = Arc::new(Journal::new(1 << 20));
        let reader = journal.reader(Destination::Replicas);
        journal.bound_replicas(Some(0), 1 << 20);
        let spare = |wanted: usize| {
            let end = (0..16).fold(0, |_, _| journal.append_to_replicas(&[b'x'; 64 << 10]));
            reader.release(end);
            assert_eq!(journal.state.lock().streams[Destination::Replicas as usize].spare_blocks(), wanted);
        };
        spare(16);
        spare(16);
        journal.bound_replicas(None, 1 << 20);
        spare(4);
    }

    /// What a second needs is there for the next one, and what no second needs any more goes.
    #[test]
    fn blocks_that_are_needed_again_stay() {
        let journal = Arc::new(Journal::new(1 << 20));
        let reader = journal.reader(Destination::Aof);
        journal.keep_spare(1 << 20);
        let spare = || journal.state.lock().streams[Destination::Aof as usize].spare_blocks();
        let mut batch = Batch::new();
        let mut pass = |blocks: usize| {
            for _ in 0..blocks {
                batch.serve(Destinations::AOF);
                batch.unit_begin();
                batch.effect(0, [b"x".as_slice(), &[b'x'; (64 << 10) - 64]], Destinations::AOF);
                batch.unit_end();
                journal.append(&mut batch, 0);
            }
            reader.release(journal.tail(Destination::Aof));
        };
        for _ in 0..3 {
            pass(12);
            assert!((10..=13).contains(&spare()), "{}", spare());
            assert!(journal.trim_spare());
        }
        pass(6);
        assert!(journal.trim_spare());
        assert!((5..=7).contains(&spare()), "{}", spare());
        pass(1);
        assert!(!journal.trim_spare());
        assert_eq!(spare(), 4);
        pass(12);
        drop(reader);
        assert_eq!(spare(), 4, "nobody writes any more");
    }
}
