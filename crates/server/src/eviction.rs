//! `maxmemory`: what goes when memory is full, and when.
//!
//! ```text
//!            used memory, before each batch of commands
//!                 │ above the limit
//!                 ▼
//!   sample places in a few shards ─> pool ─> lock the shards of the best, remove them, tell everybody ─┐
//!                 ▲                                                                                    │ still above it, and work left
//!                 └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Event loops evict by themselves, side by side, each with a pool of its own: behind their own gate, with the locks of the few
//! shards that a round is about, and before they lock any for their batch. Nobody is ever alone in the world for it.
//!
//! *How long may that take?* A round removes sixteen keys at most, and `maxmemory-eviction-tenacity` says how many keys a batch
//! waits for; large values are freed elsewhere. What is left to be done then is done between batches, and commands go on meanwhile.
//!
//! *What counts?* Used memory, without the journal and without what snapshots hold back: writing to disk must not cost keys. Large values
//! count until they are out of the keyspace, not until they are freed, or others would be evicted in their place.
//!
//! *What if a candidate was used again since it was found?* Then it stays: its rank is looked at again where it is about to go.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use commands::db::{Lfu, access};
use commands::telling::Telling;
use commands::{Global, Room, Settings, World};
use config::{LogLevel, MaxmemoryPolicy};
use journal::Destination;
use keyspace::eviction::{Candidate, Draw, Evictable, Pool};
use keyspace::{DbIndex, Entry, Held, Keyspace, Millis};
use smallvec::SmallVec;

use crate::dispatch::{Dispatcher, readers};
use crate::operation::memory;
use crate::shared::{Shared, now};

/// A round removes so many keys at most: the locks it holds at a time, and the cache misses that overlap.
const ROUND_KEYS_MAX: usize = 16;
/// What a place usually shows, and how many of them are looked at side by side.
const BUCKET_KEYS: usize = 5;
const PLACES_MAX: usize = 16;
/// So many places without a key that may go, one after the other, and there are taken to be none.
const FRUITLESS_MAX: usize = 4096;
/// A batch that finds memory full makes room for so much more, so that not every one has to.
const SLACK_BYTES_MAX: u64 = 4096;

/// How the server stands to its limit. Read without a lock.
#[derive(Default)]
pub struct Limit {
    /// `maxmemory`; 0: none.
    bytes: AtomicU64,
    /// What of used memory did not count when last somebody looked.
    not_counted_bytes: AtomicU64,
    /// The last search has found nothing that may go.
    is_exhausted: AtomicBool,
    /// Since when used memory is above the limit although keys were evicted, in milliseconds since 1970; 0: it is not.
    exceeded_since: AtomicI64,
    exceeded_ms: AtomicU64,
}

impl Limit {
    #[inline]
    pub fn is_set(&self) -> bool {
        self.bytes.load(Relaxed) != 0
    }

    /// The settings have changed.
    pub fn follow(&self, settings: &Settings) {
        self.bytes.store(settings.maxmemory_bytes, Relaxed);
        self.is_exhausted.store(false, Relaxed);
    }

    /// What of used memory did not count when last somebody looked.
    pub fn not_counted_bytes(&self) -> u64 {
        self.not_counted_bytes.load(Relaxed)
    }

    /// For how long memory has been above the limit, until now and all in all, in milliseconds.
    pub fn exceeded_ms(&self, now: Millis) -> (u64, u64) {
        let since = self.exceeded_since.load(Relaxed);
        let current = if since == 0 { 0 } else { (now.0 - since).max(0) as u64 };
        (current, self.exceeded_ms.load(Relaxed) + current)
    }

    fn note_exceeded(&self, now: Millis, is_exceeded: bool) {
        let since = self.exceeded_since.load(Relaxed);
        if is_exceeded == (since != 0) {
            return;
        }
        let next = if is_exceeded { now.0.max(1) } else { 0 };
        // Of several loops one counts.
        if self.exceeded_since.compare_exchange(since, next, Relaxed, Relaxed).is_ok() && since != 0 {
            self.exceeded_ms.fetch_add((now.0 - since).max(0) as u64, Relaxed);
        }
    }

    pub fn reset(&self) {
        self.exceeded_ms.store(0, Relaxed);
    }
}

impl Shared {
    /// Bytes of used memory that do not count: the journal, and what snapshots hold back.
    pub fn look_at_not_counted_bytes(&self) -> u64 {
        let journal = &self.persistence.journal;
        let bytes = [Destination::Aof, Destination::Replicas].map(|destination| journal.memory_bytes(destination));
        let bytes = bytes.iter().sum::<u64>() + self.persistence.progress().captured_bytes;
        self.limit.not_counted_bytes.store(bytes, Relaxed);
        bytes
    }

    /// Bytes above the limit, or below if negative, by what did not count when last somebody looked.
    #[inline]
    fn excess_bytes(&self, limit_bytes: u64) -> i64 {
        let not_counted = self.limit.not_counted_bytes.load(Relaxed);
        memory::used_bytes() as i64 - not_counted as i64 - limit_bytes as i64
    }

    /// Says so where a new limit is below what is used.
    pub fn warn_of_small_limit(&self, settings: &Settings) {
        let (limit, used) = (settings.maxmemory_bytes, memory::used_bytes());
        if limit > 0 && limit < used {
            self.log(
                LogLevel::Warning,
                &format!(
                    "maxmemory is now {limit} bytes, and {used} are used: keys are evicted, or commands that need memory \
                     are refused, as maxmemory-policy says."
                ),
            );
        }
    }

    /// How memory stands to `maxmemory` now.
    #[inline]
    pub fn room(&self, global: &Global) -> Room {
        match global.settings.maxmemory_bytes {
            0 => Room::Enough,
            limit_bytes => match self.excess_bytes(limit_bytes) {
                ..=0 => Room::Enough,
                bytes => self.overdrawn(global, bytes as u64),
            },
        }
    }

    #[cold]
    fn overdrawn(&self, global: &Global, bytes: u64) -> Room {
        let not_counted_before = self.limit.not_counted_bytes.load(Relaxed);
        if !global.may_evict(now()) || self.look_at_not_counted_bytes() >= not_counted_before + bytes {
            Room::Enough
        } else if global.settings.maxmemory_policy == MaxmemoryPolicy::Noeviction
            || self.limit.is_exhausted.load(Relaxed)
        {
            Room::Out
        } else {
            Room::Overdrawn { bytes }
        }
    }
}

/// What a thread keeps between rounds.
pub struct Evictor {
    pool: Pool,
    /// The policy whose ranks the pool holds.
    policy: MaxmemoryPolicy,
    held: Held,
    victims: Vec<Candidate>,
    random: u64,
    /// Mean bytes that an evicted key has freed lately.
    key_bytes: u64,
    /// Used memory when the last batch had its room.
    needed_before: u64,
}

impl Default for Evictor {
    fn default() -> Evictor {
        Evictor {
            pool: Pool::default(),
            policy: MaxmemoryPolicy::Noeviction,
            held: Held::new(),
            victims: Vec::new(),
            random: rand::random::<u64>() | 1,
            key_bytes: 64,
            needed_before: 0,
        }
    }
}

/// Whom a policy chooses among, and by what.
struct Choice<'a> {
    settings: &'a Settings,
    lfu: Lfu,
    now: Millis,
}

impl Choice<'_> {
    fn evictable(&self) -> Evictable {
        match self.settings.maxmemory_policy {
            MaxmemoryPolicy::VolatileLru
            | MaxmemoryPolicy::VolatileLfu
            | MaxmemoryPolicy::VolatileRandom
            | MaxmemoryPolicy::VolatileTtl => Evictable::Volatile,
            _ => Evictable::All,
        }
    }

    /// The lowest goes first. `None`: it may not go.
    fn rank(&self, entry: &Entry<'_>, random: u64) -> Option<i64> {
        if self.evictable() == Evictable::Volatile {
            entry.expire_at()?;
        }
        let bits = entry.access_bits();
        Some(match self.settings.maxmemory_policy {
            // When it was used last, in seconds: it stays the same until it is used again.
            MaxmemoryPolicy::AllkeysLru | MaxmemoryPolicy::VolatileLru => {
                self.now.0 / 1000 - access::idle_ms(bits, self.now) / 1000
            }
            // Of those used as often, who was not used for longer goes first.
            MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => {
                i64::from(access::lfu_counter(bits, &self.lfu, self.now)) << 16
                    | i64::from(0xFFFF - access::lfu_idle_minutes(bits, self.now))
            }
            MaxmemoryPolicy::VolatileTtl => entry.expire_at()?.0,
            MaxmemoryPolicy::AllkeysRandom | MaxmemoryPolicy::VolatileRandom | MaxmemoryPolicy::Noeviction => {
                (random >> 1) as i64
            }
        })
    }

    /// Whether a candidate's rank is still as low as it was.
    fn still_goes(&self, candidate: &Candidate, entry: &Entry<'_>) -> bool {
        match self.settings.maxmemory_policy {
            MaxmemoryPolicy::AllkeysRandom => true,
            MaxmemoryPolicy::VolatileRandom => entry.expire_at().is_some(),
            _ => self.rank(entry, 0).is_some_and(|rank| rank <= candidate.rank),
        }
    }
}

/// How many keys a batch waits for, by `maxmemory-eviction-tenacity`: about as long as Redis, which counts half a millisecond at 10, and
/// never ends at 100.
fn keys_max(tenacity: u32) -> usize {
    const KEYS_AT_TEN: f64 = 640.0;
    match tenacity {
        0..=10 => ROUND_KEYS_MAX + 64 * tenacity as usize,
        11..=99 => (KEYS_AT_TEN * 1.15f64.powi(tenacity as i32 - 10)) as usize,
        _ => usize::MAX,
    }
}

/// What has become of an attempt to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MadeRoom {
    /// Memory is below the limit, or nothing may be done about it.
    Done,
    /// There is more to be evicted.
    Unfinished,
}

impl Dispatcher<'_> {
    /// Evicts keys if memory is above the limit. The thread must be outside of its gate.
    #[inline]
    pub fn make_room(&mut self) {
        let limit_bytes = self.shared.limit.bytes.load(Relaxed);
        if limit_bytes != 0 && self.shared.excess_bytes(limit_bytes) > 0 {
            self.scratch.must_evict = self.evict() == MadeRoom::Unfinished;
        } else {
            self.scratch.must_evict = false;
        }
    }

    #[cold]
    fn evict(&mut self) -> MadeRoom {
        let mut waited_for = Vec::new();
        let began = Instant::now();
        let mut evictor = self.scratch.evictor.take().unwrap_or_default();
        let made = {
            match self.shared.gates.narrow_unless_lent(self.thread) {
                Some(world) => self.evict_inside(&world, &mut evictor, &mut waited_for),
                // A slow script goes on with what there is.
                None => MadeRoom::Unfinished,
            }
        };
        self.scratch.evictor = Some(evictor);
        self.shared.observation.latency.note("eviction-cycle", began.elapsed().as_millis() as u64, now());
        if !waited_for.is_empty() {
            self.serve_gone(&waited_for);
        }
        made
    }

    fn evict_inside(
        &mut self,
        world: &World,
        evictor: &mut Evictor,
        waited_for: &mut Vec<(DbIndex, Box<[u8]>)>,
    ) -> MadeRoom {
        let (settings, now) = (&world.global.settings, now());
        let limit_bytes = settings.maxmemory_bytes;
        let limit = &self.shared.limit;
        if settings.maxmemory_policy == MaxmemoryPolicy::Noeviction || limit_bytes == 0 || !world.global.may_evict(now)
        {
            return MadeRoom::Done;
        }
        if evictor.policy != settings.maxmemory_policy {
            evictor.policy = settings.maxmemory_policy;
            evictor.pool.clear();
        }
        let slack_bytes = SLACK_BYTES_MAX.min(limit_bytes / 4096) as i64;
        // It changes all the time, but not much within a batch.
        self.shared.look_at_not_counted_bytes();
        let mut excess = self.shared.excess_bytes(limit_bytes);
        let grown = memory::used_bytes().saturating_sub(evictor.needed_before);
        let mut left = keys_max(settings.maxmemory_eviction_tenacity);
        // Who adds much has to wait for more: otherwise memory would grow beyond any limit beside writers of large values.
        let (mut freed, mut left_for_growth) = (0, left.saturating_mul(3));
        let mut made = MadeRoom::Done;
        while excess + slack_bytes > 0 {
            if left == 0 {
                if freed >= 2 * grown || left_for_growth == 0 {
                    made = MadeRoom::Unfinished;
                    break;
                }
                left = left_for_growth.min(ROUND_KEYS_MAX);
                left_for_growth -= left;
            }
            let wanted = ((excess + slack_bytes) as u64).div_ceil(evictor.key_bytes.max(1)) as usize;
            let wanted = wanted.clamp(1, ROUND_KEYS_MAX.min(left));
            let evicted = self.round(world, evictor, wanted, slack_bytes, now, waited_for);
            let excess_now = self.shared.excess_bytes(limit_bytes);
            limit.is_exhausted.store(evicted == 0, Relaxed);
            if evicted == 0 {
                break;
            }
            let gained = (excess - excess_now).max(0) as u64;
            freed += gained;
            evictor.key_bytes = (evictor.key_bytes * 7 + gained / evicted as u64).div_ceil(8);
            left = left.saturating_sub(evicted);
            excess = excess_now;
        }
        evictor.needed_before = memory::used_bytes();
        limit.note_exceeded(now, excess > 0);
        made
    }

    /// Looks at a few places more, and evicts the best candidates known. Says how many; 0 when there are none.
    fn round(
        &mut self,
        world: &World,
        evictor: &mut Evictor,
        wanted: usize,
        slack_bytes: i64,
        now: Millis,
        waited_for: &mut Vec<(DbIndex, Box<[u8]>)>,
    ) -> usize {
        let settings = &world.global.settings;
        let choice = Choice { settings, lfu: Lfu::of(settings), now };
        for _ in 0..FRUITLESS_MAX.div_ceil(wanted) {
            if !evictor.look(&world.keyspace, &choice, wanted) {
                return 0;
            }
            let evicted = self.remove_victims(world, evictor, &choice, wanted, slack_bytes, waited_for);
            if evicted > 0 {
                return evicted;
            }
        }
        0
    }

    /// Removes the best candidates of the pool, as long as memory is above the limit.
    fn remove_victims(
        &mut self,
        world: &World,
        evictor: &mut Evictor,
        choice: &Choice<'_>,
        wanted: usize,
        slack_bytes: i64,
        waited_for: &mut Vec<(DbIndex, Box<[u8]>)>,
    ) -> usize {
        let World { global, keyspace } = world;
        let Evictor { pool, held, victims, .. } = evictor;
        victims.extend(std::iter::from_fn(|| pool.take()).take(wanted));
        held.clear();
        let keys: SmallVec<[keyspace::Key<'_>; ROUND_KEYS_MAX]> =
            victims.iter().map(|victim| keyspace.key(&victim.key)).collect();
        for key in &keys {
            held.insert(key.shard());
        }
        let mut space = keyspace.narrow(held);
        victims.iter().zip(&keys).for_each(|(victim, key)| space.prefetch_bucket(victim.db, *key));
        victims.iter().zip(&keys).for_each(|(victim, key)| space.prefetch_entry(victim.db, *key));
        let effects = self.scratch.effects();
        effects.serve(readers(global));
        let waiters = &global.waiters;
        let (mut evicted, mut considered) = (0, 0);
        for (victim, &key) in victims.iter().zip(&keys) {
            if evicted > 0 && self.shared.excess_bytes(choice.settings.maxmemory_bytes) + slack_bytes <= 0 {
                break;
            }
            considered += 1;
            if !space.get(victim.db, key).is_some_and(|entry| choice.still_goes(victim, &entry)) {
                continue;
            }
            let removed = space.remove(victim.db, key).expect("it was there just now");
            evicted += 1;
            effects.evicted(victim.db, removed.key(), choice.settings.unlink_evicted);
            if !waiters.is_empty() && waiters.concern_end_of(victim.db, removed.key()) {
                waited_for.push((victim.db, removed.key().into()));
            }
        }
        self.stats.evicted_keys.add(evicted as u64);
        let telling = Telling::of(global, self.shared, self.stats, self.thread);
        telling.tell(effects, None);
        telling.end(effects);
        self.scratch.record(self.shared, choice.now);
        drop(space);
        drop(keys);
        for (index, victim) in victims.drain(..).enumerate() {
            if index >= considered {
                pool.offer(victim.rank, victim.db, &victim.key);
            }
            pool.give_back(victim);
        }
        evicted
    }
}

impl Evictor {
    fn random(&mut self) -> u64 {
        // xorshift64: nobody gains from guessing it, the hash is keyed.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Looks for candidates, `maxmemory-samples` for each key that is to go. False if there are none, nor any from before.
    fn look(&mut self, keyspace: &Keyspace, choice: &Choice<'_>, wanted: usize) -> bool {
        let mut left = wanted * choice.settings.maxmemory_samples;
        for _ in 0..choice.settings.maxmemory_samples {
            // Where keys are few, a shard holds one or two.
            match self.look_at(keyspace, choice, left.div_ceil(BUCKET_KEYS).clamp(1, PLACES_MAX)) {
                None => return !self.pool.is_empty(),
                Some(seen) if seen < left => left -= seen,
                Some(_) => break,
            }
        }
        true
    }

    /// Looks at so many random places, and says how many keys it has seen there. `None`: there are no places.
    fn look_at(&mut self, keyspace: &Keyspace, choice: &Choice<'_>, places: usize) -> Option<usize> {
        let evictable = choice.evictable();
        let mut draws = SmallVec::<[Draw; PLACES_MAX]>::new();
        self.held.clear();
        for _ in 0..places {
            let random = self.random();
            let Some(draw) = keyspace.draw(evictable, random) else { break };
            self.held.insert(draw.shard());
            draws.push(draw);
        }
        if draws.is_empty() {
            return None;
        }
        let mut seen = 0;
        let space = keyspace.narrow(&self.held);
        if evictable == Evictable::All {
            draws.iter().for_each(|draw| space.prefetch_draw(*draw));
            draws.iter().for_each(|draw| space.prefetch_drawn(*draw));
        }
        let mut random = self.random();
        for draw in draws {
            space.sample(draw, evictable, BUCKET_KEYS, |db, entry| {
                seen += 1;
                random = random.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                if let Some(rank) = choice.rank(&entry, random) {
                    self.pool.offer(rank, db, entry.key());
                }
            });
        }
        Some(seen)
    }
}
