//! A database as a command sees it: keys that are past their time do not exist, and what is looked at is counted.

use keyspace::{
    Collection, DbIndex, Entry, EntryMut, Expiry, Hash, Key, Millis, NewValue, Removed, Space, StrRef, TypedMut,
    TypedRef, ValueRef,
};
use smallvec::SmallVec;

use crate::client::{ClientFlags, Session};
use crate::effects::{Effects, EventClass};
use crate::error::{Error, Stop};
use crate::global::{Global, Role};
use crate::settings::Settings;
use crate::stats::ThreadStats;

/// How expiry and access are treated, from the configuration, the world's state and the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manners {
    /// The client asked that its reads leave no trace (CLIENT NO-TOUCH).
    pub no_touch: bool,
    /// Expired keys are invisible, but not removed: on replicas, in import mode, while writes are paused.
    pub keep_expired: bool,
    /// The client sees expired keys too (Valkey's import source).
    pub see_expired: bool,
    /// Access bits hold LFU time and counter instead of the LRU clock.
    pub lfu: Option<Lfu>,
}

impl Manners {
    /// How this client's commands treat expiry and access times.
    pub fn of(global: &Global, session: &Session, now: Millis) -> Manners {
        Manners {
            no_touch: session.has(ClientFlags::NO_TOUCH),
            keep_expired: session.replays
                || global.role == Role::Replica
                || global.settings.import_mode
                || global.pause_at(now).is_some(),
            see_expired: session.replays || (global.settings.import_mode && session.has(ClientFlags::IMPORT_SOURCE)),
            lfu: global.settings.lfu.then(|| Lfu::of(&global.settings)),
        }
    }
}

/// The parameters of the LFU counter.
#[derive(Clone, Copy, Debug)]
pub struct Lfu {
    pub log_factor: u32,
    pub decay_minutes: u32,
    /// A random number that changes with every access.
    pub random: u64,
}

impl Lfu {
    pub fn of(settings: &Settings) -> Lfu {
        Lfu {
            log_factor: settings.lfu_log_factor,
            decay_minutes: settings.lfu_decay_minutes,
            random: rand::random::<u64>() | 1,
        }
    }
}

/// What the eviction bits of an entry say.
pub mod access {
    use super::{Lfu, Millis};

    /// A new key's LFU counter: not the first to go.
    const LFU_START: u32 = 5;

    /// Seconds in 24 bits: they wrap after 194 days, as in Redis.
    pub fn lru_clock(now: Millis) -> u32 {
        (now.0 / 1000) as u32 & 0x00FF_FFFF
    }

    /// Milliseconds since the entry was touched.
    pub fn idle_ms(bits: u32, now: Millis) -> i64 {
        i64::from(lru_clock(now).wrapping_sub(bits) & 0x00FF_FFFF) * 1000
    }

    /// LRU bits of a key that was last touched so many seconds ago.
    pub fn idle_for(seconds: i64, now: Millis) -> u32 {
        lru_clock(now).wrapping_sub(seconds as u32) & 0x00FF_FFFF
    }

    fn minutes(now: Millis) -> u32 {
        (now.0 / 60_000) as u32 & 0xFFFF
    }

    /// Minutes since a key with LFU bits was touched.
    pub fn lfu_idle_minutes(bits: u32, now: Millis) -> u32 {
        minutes(now).wrapping_sub(bits >> 8) & 0xFFFF
    }

    /// The counter after the time that has passed: it loses one every `decay_minutes`.
    pub fn lfu_counter(bits: u32, lfu: &Lfu, now: Millis) -> u32 {
        let counter = bits & 0xFF;
        let passed = lfu_idle_minutes(bits, now);
        match passed.checked_div(lfu.decay_minutes) {
            Some(periods) => counter.saturating_sub(periods),
            None => counter,
        }
    }

    /// Bits of a key that is created now.
    pub fn created(lfu: Option<&Lfu>, now: Millis) -> u32 {
        match lfu {
            None => lru_clock(now),
            Some(_) => minutes(now) << 8 | LFU_START,
        }
    }

    /// The same where there is nothing to draw.
    pub fn created_at(lfu: bool, now: Millis) -> u32 {
        if lfu { with_counter(LFU_START as u8, now) } else { lru_clock(now) }
    }

    /// LFU bits with this counter, touched now.
    pub fn with_counter(counter: u8, now: Millis) -> u32 {
        minutes(now) << 8 | u32::from(counter)
    }

    /// Bits of a key that is touched now. The LFU counter grows logarithmically: the larger, the rarer.
    pub fn touched(bits: u32, lfu: Option<&mut Lfu>, now: Millis) -> u32 {
        let Some(lfu) = lfu else {
            return lru_clock(now);
        };
        let mut counter = lfu_counter(bits, lfu, now);
        if counter < 255 {
            // xorshift64: cheap, and nobody gains from guessing it.
            lfu.random ^= lfu.random << 13;
            lfu.random ^= lfu.random >> 7;
            lfu.random ^= lfu.random << 17;
            let base = counter.saturating_sub(LFU_START);
            let chance = 1.0 / (f64::from(base) * f64::from(lfu.log_factor) + 1.0);
            if (lfu.random >> 11) as f64 / (1u64 << 53) as f64 <= chance {
                counter += 1;
            }
        }
        minutes(now) << 8 | counter
    }
}

/// The selected database, as far as the command's access reaches.
pub struct Db<'a> {
    pub space: Space<'a>,
    pub index: DbIndex,
    /// The time of this access. It does not move while the command runs.
    pub now: Millis,
    pub stats: &'a ThreadStats,
    pub manners: Manners,
    /// What is changed, for others.
    pub effects: &'a mut Effects,
}

impl<'a> Db<'a> {
    /// The same access with another database selected; returns the one before.
    pub fn select(&mut self, index: DbIndex) -> DbIndex {
        std::mem::replace(&mut self.index, index)
    }

    /// The entry, unless its time is past; then it is removed, where this server may do so. `TOUCH` marks it as used, `COUNT` counts
    /// hit or miss and tells of a miss.
    #[inline]
    fn live<const TOUCH: bool, const COUNT: bool>(&mut self, key: Key<'_>) -> Option<Entry<'_>> {
        let Some(entry) = self.space.get(self.index, key) else {
            if COUNT {
                self.missed(key);
            }
            return None;
        };
        if !entry.is_expired(self.now) || self.manners.see_expired {
            if COUNT {
                self.stats.keyspace_hits.add(1);
            }
            if TOUCH && !self.manners.no_touch {
                touch(entry, &mut self.manners, self.now);
            }
            // SAFETY: the same entry with the lifetime of `&mut self`; the borrow checker cannot see that the borrow is not
            // used on the other path (the third problem case of non-lexical lifetimes).
            return Some(unsafe { std::mem::transmute::<Entry<'_>, Entry<'_>>(entry) });
        }
        self.expire(key);
        if COUNT {
            self.missed(key);
        }
        None
    }

    #[inline]
    fn missed(&mut self, key: Key<'_>) {
        self.stats.keyspace_misses.add(1);
        self.notify(EventClass::KEY_MISS, "keymiss", key.bytes());
    }

    #[cold]
    fn expire(&mut self, key: Key<'_>) {
        if !self.manners.keep_expired && self.space.remove(self.index, key).is_some() {
            self.stats.expired_keys.add(1);
            self.effects.expired(self.index, key.bytes());
            self.effects.signal(self.index, key.bytes());
        }
    }

    /// Looks a key up to read its value: counts hit or miss, and marks the key as used.
    #[inline]
    pub fn read(&mut self, key: Key<'_>) -> Option<Entry<'_>> {
        self.live::<true, true>(key)
    }

    /// Looks a key up without leaving a trace on it (TYPE, TTL); counts hit or miss.
    #[inline]
    pub fn peek(&mut self, key: Key<'_>) -> Option<Entry<'_>> {
        self.live::<false, true>(key)
    }

    /// Looks a key up to tell about it (OBJECT): as [`peek`](Db::peek), but a miss is no event.
    pub fn inspect(&mut self, key: Key<'_>) -> Option<Entry<'_>> {
        let stats = self.stats;
        let entry = self.live::<false, false>(key);
        if entry.is_some() { &stats.keyspace_hits } else { &stats.keyspace_misses }.add(1);
        entry
    }

    /// Looks a key up without leaving any trace at all.
    #[inline]
    pub fn glance(&mut self, key: Key<'_>) -> Option<Entry<'_>> {
        self.live::<false, false>(key)
    }

    /// Whether the key is there although its time has come: nobody has removed it yet.
    pub fn has_expired(&self, key: Key<'_>) -> bool {
        self.has_expired_in(self.index, key)
    }

    pub fn has_expired_in(&self, index: DbIndex, key: Key<'_>) -> bool {
        !self.manners.see_expired && self.space.get(index, key).is_some_and(|entry| entry.is_expired(self.now))
    }

    /// Whether the key is there, and its time has not come.
    pub fn is_alive_in(&self, index: DbIndex, key: Key<'_>) -> bool {
        self.space.contains(index, key) && !self.has_expired_in(index, key)
    }

    /// Looks several keys up without leaving any trace at all, to hold all of them at once.
    pub fn glance_all(&mut self, keys: &[Key<'_>]) -> SmallVec<[Option<Entry<'_>>; 4]> {
        for &key in keys {
            self.live::<false, false>(key);
        }
        let this = &*self;
        let shown = |entry: &Entry<'_>| !entry.is_expired(this.now) || this.manners.see_expired;
        keys.iter().map(|&key| this.space.get(this.index, key).filter(shown)).collect()
    }

    /// Looks a key up to change it.
    #[inline]
    pub fn write(&mut self, key: Key<'_>) -> Option<EntryMut<'_>> {
        let entry = self.space.get_mut(self.index, key)?;
        if entry.entry().is_expired(self.now) && !self.manners.see_expired {
            self.expire(key);
            return None;
        }
        if !self.manners.no_touch {
            touch(entry.entry(), &mut self.manners, self.now);
        }
        self.effects.touch(self.index, key.bytes());
        // SAFETY: the same entry with the lifetime of `&mut self`, as in `live`.
        Some(unsafe { std::mem::transmute::<EntryMut<'_>, EntryMut<'_>>(entry) })
    }

    /// Looks a collection up to read it; counts hit or miss, and marks the key as used.
    ///
    /// # Errors
    /// `WrongType`; likewise below.
    #[inline]
    pub fn read_as<T: Collection>(&mut self, key: Key<'_>) -> Result<Option<TypedRef<'_, T>>, Stop> {
        match self.read(key) {
            None => Ok(None),
            Some(entry) => entry.collection().map(Some),
        }
    }

    /// Looks several collections up, to read them side by side. The first key of another type decides the error.
    pub fn read_all_as<T: Collection>(&mut self, keys: &[Key<'_>]) -> Result<TypedRefs<'_, T>, Stop> {
        for key in keys {
            if let Some(entry) = self.read(*key) {
                entry.collection::<T>()?;
            }
        }
        // Nothing is removed any more: all of them can be borrowed at once.
        let this = &*self;
        let shown = |entry: &Entry<'_>| !entry.is_expired(this.now) || this.manners.see_expired;
        keys.iter()
            .map(|key| match this.space.get(this.index, *key).filter(shown) {
                None => Ok(None),
                Some(entry) => entry.collection().map(Some),
            })
            .collect()
    }

    /// Looks a collection up to change it. Who takes the last element out says [`remove_if_empty`](Self::remove_if_empty) then.
    #[inline]
    pub fn write_as<T: Collection>(&mut self, key: Key<'_>) -> Result<Option<TypedMut<'_, T>>, Stop> {
        match self.write(key) {
            None => Ok(None),
            Some(entry) => entry.into_typed().map(Some).ok_or(Stop::Error(Error::WrongType)),
        }
    }

    /// The same, and creates the key if it is not there. Its collection is empty then, and must not stay so.
    #[inline]
    pub fn write_or_create<T: Collection>(&mut self, key: Key<'_>) -> Result<TypedMut<'_, T>, Stop> {
        self.write_or_create_with(key, T::default)
    }

    /// The same with a collection that is not the usual empty one.
    #[inline]
    pub fn write_or_create_with<T: Collection>(
        &mut self,
        key: Key<'_>,
        new: impl FnOnce() -> T,
    ) -> Result<TypedMut<'_, T>, Stop> {
        if let Some(entry) = self.write(key) {
            // SAFETY: the same entry with the lifetime of `&mut self`, as in `live`.
            let entry = unsafe { std::mem::transmute::<EntryMut<'_>, EntryMut<'_>>(entry) };
            return entry.into_typed().ok_or(Stop::Error(Error::WrongType));
        }
        self.set(key, NewValue::Object(new().into()), Expiry::Clear);
        let entry = self.space.get_mut(self.index, key).expect("it was created just now");
        Ok(entry.into_typed().expect("it was created with this type"))
    }

    /// Looks a hash up to read it, as [`read_as`](Self::read_as) does. Those of the named fields whose time has passed are taken out before.
    ///
    /// # Errors
    /// `WrongType`; likewise below.
    #[inline]
    pub fn read_hash<'n>(
        &mut self,
        key: Key<'_>,
        names: impl IntoIterator<Item = &'n [u8]>,
    ) -> Result<Option<TypedRef<'_, Hash>>, Stop> {
        let now = self.now;
        match self.read_as::<Hash>(key)? {
            None => return Ok(None),
            Some(hash) if !hash.is_due(now) => {
                // SAFETY: the same value with the lifetime of `&mut self`, as in `live`: this borrow ends here.
                return Ok(Some(unsafe { std::mem::transmute::<TypedRef<'_, Hash>, TypedRef<'_, Hash>>(hash) }));
            }
            Some(_) => {}
        }
        self.expire_fields(key, names);
        self.glance(key).map(|entry| entry.collection()).transpose()
    }

    /// The same, to be changed.
    #[inline]
    pub fn write_hash<'n>(
        &mut self,
        key: Key<'_>,
        names: impl IntoIterator<Item = &'n [u8]>,
    ) -> Result<Option<TypedMut<'_, Hash>>, Stop> {
        let now = self.now;
        match self.write_as::<Hash>(key)? {
            None => return Ok(None),
            Some(hash) if !hash.is_due(now) => {
                // SAFETY: as in `read_hash`.
                return Ok(Some(unsafe { std::mem::transmute::<TypedMut<'_, Hash>, TypedMut<'_, Hash>>(hash) }));
            }
            Some(_) => {}
        }
        self.expire_fields(key, names);
        self.write_as(key)
    }

    /// The same; created if it is not there, as [`write_or_create`](Self::write_or_create) does.
    #[inline]
    pub fn write_or_create_hash<'n>(
        &mut self,
        key: Key<'_>,
        names: impl IntoIterator<Item = &'n [u8]>,
    ) -> Result<TypedMut<'_, Hash>, Stop> {
        let now = self.now;
        let hash = self.write_or_create::<Hash>(key)?;
        if !hash.is_due(now) {
            // SAFETY: as in `read_hash`.
            return Ok(unsafe { std::mem::transmute::<TypedMut<'_, Hash>, TypedMut<'_, Hash>>(hash) });
        }
        drop(hash);
        self.expire_fields(key, names);
        self.write_or_create(key)
    }

    /// Takes out those of the named fields whose time has passed, where this server may do so.
    #[cold]
    pub fn expire_fields<'n>(&mut self, key: Key<'_>, names: impl IntoIterator<Item = &'n [u8]>) {
        if self.manners.keep_expired {
            return;
        }
        let (index, stats, effects) = (self.index, self.stats, &mut *self.effects);
        self.space.expire_fields(index, key, self.now, names, |expired| {
            stats.expired(&expired);
            effects.gone(index, &expired);
        });
    }

    /// Removes a collection that has lost its last element, with the event `del`. Says whether it did.
    pub fn remove_if_empty(&mut self, key: Key<'_>) -> bool {
        let is_empty = |entry: Entry<'_>| matches!(entry.value(), ValueRef::Object(object) if object.is_empty());
        if !self.space.get(self.index, key).is_some_and(is_empty) {
            return false;
        }
        self.space.remove(self.index, key);
        self.signal(key);
        self.notify(EventClass::GENERIC, "del", key.bytes());
        true
    }

    /// Sets a key, whatever was there. Says whether a live key was. Events: `new`, or `overwritten` and maybe `type_changed`.
    #[inline]
    pub fn set(&mut self, key: Key<'_>, value: NewValue<'_>, expiry: Expiry) -> bool {
        if self.effects.records() {
            return self.set_recorded(key, value, expiry);
        }
        self.set_unrecorded(key, value, expiry)
    }

    /// Gives a key a value that was made from its old one: where there was one, that is not `overwritten`.
    pub fn update(&mut self, key: Key<'_>, value: NewValue<'_>, expiry: Expiry) {
        if self.live::<false, false>(key).is_some() {
            self.set_unrecorded(key, value, expiry);
        } else {
            self.set(key, value, expiry);
        }
    }

    #[inline]
    fn set_unrecorded(&mut self, key: Key<'_>, value: NewValue<'_>, expiry: Expiry) -> bool {
        // An expiry that has passed is not kept: the key it belonged to is gone.
        if expiry == Expiry::Keep {
            self.live::<false, false>(key);
        }
        self.effects.touch(self.index, key.bytes());
        self.space.set_created_access_bits(access::created(self.manners.lfu.as_ref(), self.now));
        // As in Redis: what takes the place of another value wakes nobody, but who waits for a stream that is no more.
        let is_gift = |entry: Entry<'_>| entry.value().type_name() == "stream";
        if self.effects.has_waiters() && self.live::<false, false>(key).is_none_or(is_gift) {
            self.signal(key);
        }
        self.space.set(self.index, key, value, expiry)
    }

    /// As Redis does it: what has expired is removed first, and what was there is told to whoever wants to hear of it.
    fn set_recorded(&mut self, key: Key<'_>, value: NewValue<'_>, expiry: Expiry) -> bool {
        let is_told = self.effects.notifies(EventClass::NEW | EventClass::OVERWRITTEN | EventClass::TYPE_CHANGED);
        let before = match is_told || self.space.may_have_expired(key, self.now) {
            true => self.live::<false, false>(key),
            false => None,
        };
        let type_before = before.filter(|_| is_told).map(|entry| entry.value().type_name());
        let existed = self.set_unrecorded(key, value, expiry);
        match type_before {
            _ if !is_told => {}
            None => self.notify(EventClass::NEW, "new", key.bytes()),
            Some(type_before) => self.notify_replaced(key, type_before),
        }
        existed
    }

    /// Another value took the place of one of this type.
    pub fn notify_replaced(&mut self, key: Key<'_>, type_before: &'static str) {
        self.notify(EventClass::OVERWRITTEN, "overwritten", key.bytes());
        let type_now = self.space.get(self.index, key).map(|entry| entry.value().type_name());
        if type_now.is_some_and(|type_now| type_now != type_before) {
            self.notify(EventClass::TYPE_CHANGED, "type_changed", key.bytes());
        }
    }

    /// Takes a live key out. Dropping what is returned frees it (large values on the reaper's thread).
    #[inline]
    pub fn take(&mut self, key: Key<'_>) -> Option<Removed> {
        let now = self.now;
        let has_expired = self.live::<false, false>(key)?.is_expired(now);
        self.signal(key);
        self.effects.touch_removed(self.index, key.bytes(), has_expired);
        self.space.remove(self.index, key)
    }

    /// Puts what was taken out under another name or into another database, where it counts as new: it was used just now.
    pub fn put(&mut self, index: DbIndex, key: Key<'_>, value: Removed) {
        self.effects.touch(index, key.bytes());
        self.space.put(index, key, value);
        self.effects.signal(index, key.bytes());
        if let Some(entry) = self.space.get(index, key) {
            entry.set_access_bits(access::created(self.manners.lfu.as_ref(), self.now));
        }
        self.effects.notify(EventClass::NEW, "new", index, key.bytes());
    }

    /// Removes a live key without an event. Says whether it was there.
    #[inline]
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        self.take(key).is_some()
    }

    /// The same where it is what the command is for: with the event `del`.
    #[inline]
    pub fn delete(&mut self, key: Key<'_>) -> bool {
        let removed = self.remove(key);
        if removed {
            self.notify(EventClass::GENERIC, "del", key.bytes());
        }
        removed
    }

    /// Removes a key that nothing is to be stored under, with the event `del`. Says whether it was there. Whether its time had come is not
    /// asked, as Redis does not: nobody hears that it expired.
    pub fn clear(&mut self, key: Key<'_>) -> bool {
        let Some(has_expired) = self.space.get(self.index, key).map(|entry| entry.is_expired(self.now)) else {
            return false;
        };
        self.signal(key);
        self.effects.touch_removed(self.index, key.bytes(), has_expired);
        self.space.remove(self.index, key);
        self.notify(EventClass::GENERIC, "del", key.bytes());
        true
    }

    /// Gives a live key another expiry, or none. Says whether the key is there.
    #[inline]
    pub fn set_expiry(&mut self, key: Key<'_>, at: Option<Millis>) -> bool {
        self.effects.touch(self.index, key.bytes());
        self.live::<false, false>(key).is_some() && self.space.set_expiry(self.index, key, at)
    }

    /// Says that clients blocked on this key may find something now. Creating and deleting a key says so by itself; this is for
    /// what changes an existing one: XADD, XGROUP DESTROY.
    #[inline]
    pub fn signal(&mut self, key: Key<'_>) {
        self.effects.signal(self.index, key.bytes());
    }

    /// The same for every key of a database: FLUSHDB, SWAPDB.
    pub fn signal_database(&mut self, index: DbIndex) {
        self.effects.signal_database(index);
    }

    /// Counts changes for the save points.
    #[inline]
    pub fn changed(&mut self, count: u64) {
        self.stats.dirty.add(count);
    }

    /// The same for what is no change of a key to those who watch or track it, as in Redis: what the groups of a stream remember.
    pub fn changed_unseen(&mut self, count: u64) {
        self.changed(count);
        self.effects.untouch();
    }

    /// Something happened to a key of the selected database: an event for who wants to know. Redis's order is the order of the calls.
    #[inline]
    pub fn notify(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        self.effects.notify(class, name, self.index, key);
    }
}

/// Marks a key as used.
#[inline]
fn touch(entry: Entry<'_>, manners: &mut Manners, now: Millis) {
    let bits = entry.access_bits();
    let touched = access::touched(bits, manners.lfu.as_mut(), now);
    // A key in use is touched all the time: its line stays clean within a second.
    if touched != bits {
        entry.set_access_bits(touched);
    }
}

/// Collections, borrowed side by side.
pub type TypedRefs<'a, T> = SmallVec<[Option<TypedRef<'a, T>>; 4]>;

/// A value that must be a collection of one type.
pub trait ExpectCollection<'e> {
    /// # Errors
    /// `WrongType`.
    fn collection<T: Collection>(self) -> Result<TypedRef<'e, T>, Stop>;
}

impl<'e> ExpectCollection<'e> for Entry<'e> {
    #[inline]
    fn collection<T: Collection>(self) -> Result<TypedRef<'e, T>, Stop> {
        self.typed().ok_or(Stop::Error(Error::WrongType))
    }
}

/// A value that must be a string.
pub trait ExpectString<'e> {
    /// # Errors
    /// `WrongType`.
    fn string(self) -> Result<StrRef<'e>, Stop>;
}

impl<'e> ExpectString<'e> for Entry<'e> {
    #[inline]
    fn string(self) -> Result<StrRef<'e>, Stop> {
        self.value().string()
    }
}

impl<'e> ExpectString<'e> for ValueRef<'e> {
    #[inline]
    fn string(self) -> Result<StrRef<'e>, Stop> {
        match self {
            ValueRef::Str(text) => Ok(text),
            ValueRef::Object(_) => Err(Stop::Error(Error::WrongType)),
        }
    }
}
