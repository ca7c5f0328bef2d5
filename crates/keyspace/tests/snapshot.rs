//! Snapshots: whatever happens while one is taken, the sink gets every key and element once, as it was at the cut.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use common::{TINY, crowded_keys, hold, keyspace, rng, wide};
use keyspace::collection::FieldRef;
use keyspace::collection::limits::{HashLimits, ListLimits, SetLimits, SortedSetLimits, StreamLimits};
use keyspace::collection::listpack::Item;
use keyspace::collection::stream::StreamId;
use keyspace::{
    Collection, DbIndex, ElementRef, End, Entry, Expiry, Hash, Key, LARGE_LEN_MIN, Limits, List, Millis, NewValue,
    Object, Opening, OpeningId, Progress, Removed, Set, ShardIndex, Sink, Snapshot, SnapshotLimits, SortedSet, Space,
    Stream, ValueRef,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const HASH_LIMITS: HashLimits = HashLimits { listpack_entries_max: 4, listpack_value_bytes_max: 64 };
const SET_LIMITS: SetLimits =
    SetLimits { intset_entries_max: 4, listpack_entries_max: 4, listpack_value_bytes_max: 64 };
const SORTED_SET_LIMITS: SortedSetLimits = SortedSetLimits { listpack_entries_max: 4, listpack_value_bytes_max: 64 };
const LIST_LIMITS: ListLimits = ListLimits { listpack_size_max: 4, compress_depth: 0 };
const STREAM_LIMITS: StreamLimits = StreamLimits { node_bytes_max: 4096, node_entries_max: 4 };

/// A value, in a form that can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Content {
    Text(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<Millis>)>),
    Set(BTreeSet<Vec<u8>>),
    Sorted(BTreeMap<Vec<u8>, u64>),
    List(Vec<Vec<u8>>),
    Stream(Vec<(StreamId, Vec<Vec<u8>>)>),
}

impl Content {
    fn of(value: &ValueRef<'_>) -> Content {
        match value {
            ValueRef::Str(text) => Content::Text(text.to_vec()),
            ValueRef::Object(object) => Content::of_object(object),
        }
    }

    fn of_object(object: &Object) -> Content {
        let mut content = Content::empty(object);
        match object {
            Object::Hash(hash) => hash.visit(Millis(i64::MIN), |field| content.add(ElementRef::Field(field))),
            Object::Set(set) => set.for_each(|member| content.add(ElementRef::Member(&member.to_vec()))),
            Object::SortedSet(sorted) => {
                sorted.all().for_each(|(member, score)| content.add(ElementRef::Scored(&member.to_vec(), score)));
            }
            Object::List(list) => {
                let mut items = Vec::new();
                list.walk(0, false, |item| {
                    items.push(item.to_vec());
                    std::ops::ControlFlow::Continue(())
                });
                content = Content::List(items);
            }
            Object::Stream(stream) => {
                let entries = stream.entries.range(StreamId::MIN, StreamId::MAX);
                let texts = |(field, value): (Item<'_>, Item<'_>)| [field.to_vec(), value.to_vec()];
                content = Content::Stream(
                    entries.map(|entry| (entry.id(), entry.fields().flat_map(texts).collect())).collect(),
                );
            }
        }
        content
    }

    fn empty(object: &Object) -> Content {
        match object {
            Object::Hash(_) => Content::Hash(BTreeMap::new()),
            Object::Set(_) => Content::Set(BTreeSet::new()),
            Object::SortedSet(_) => Content::Sorted(BTreeMap::new()),
            Object::List(_) => Content::List(Vec::new()),
            Object::Stream(_) => Content::Stream(Vec::new()),
        }
    }

    fn add(&mut self, element: ElementRef<'_>) {
        let new = match (self, element) {
            (Content::Hash(fields), ElementRef::Field(FieldRef { name, value, expire_at })) => {
                fields.insert(name.to_vec(), (value.to_vec(), expire_at)).is_none()
            }
            (Content::Set(members), ElementRef::Member(member)) => members.insert(member.to_vec()),
            (Content::Sorted(members), ElementRef::Scored(member, score)) => {
                members.insert(member.to_vec(), score.to_bits()).is_none()
            }
            (content, element) => panic!("{element:?} for {content:?}"),
        };
        assert!(new, "an element came twice");
    }

    fn len(&self) -> usize {
        match self {
            Content::Text(_) => 1,
            Content::Hash(fields) => fields.len(),
            Content::Set(members) => members.len(),
            Content::Sorted(members) => members.len(),
            Content::List(items) => items.len(),
            Content::Stream(entries) => entries.len(),
        }
    }
}

/// Database and key.
type Id = (u32, Vec<u8>);

type Contents = BTreeMap<Id, (Option<Millis>, Content)>;

/// All there is now.
fn contents(space: &Space<'_>) -> Contents {
    let mut all = Contents::new();
    for db in 0..space.db_count() as u32 {
        space.for_each(DbIndex(db), |entry| {
            all.insert((db, entry.key().to_vec()), (entry.expire_at(), Content::of(&entry.value())));
            std::ops::ControlFlow::Continue(())
        });
    }
    all
}

/// A sink that keeps everything, and sees to it that nothing comes twice.
#[derive(Default)]
struct Collector(Mutex<Collected>);

#[derive(Default)]
struct Collected {
    contents: Contents,
    /// By opening: where its elements belong, and how many there will be.
    opened: BTreeMap<OpeningId, (Id, usize)>,
    /// Looked at in the end only: nobody may change them, whatever happens to what they share.
    shared: Vec<(Id, Option<Millis>, Object)>,
    /// Nothing may come any more.
    closed: bool,
}

impl Collected {
    fn insert(&mut self, db: DbIndex, entry: &Entry<'_>, content: Content) -> Id {
        let id = (db.0, entry.key().to_vec());
        assert!(!self.closed, "{id:?} came after the end");
        let old = self.contents.insert(id.clone(), (entry.expire_at(), content));
        assert!(old.is_none(), "{id:?} came twice");
        id
    }
}

impl Sink for Collector {
    fn keys(&self, _shard: ShardIndex, db: DbIndex, entries: &[Entry<'_>]) {
        let mut collected = self.0.lock().unwrap();
        for entry in entries {
            collected.insert(db, entry, Content::of(&entry.value()));
        }
    }

    fn open(&self, _shard: ShardIndex, db: DbIndex, entry: Entry<'_>, opening: Opening) {
        let mut collected = self.0.lock().unwrap();
        match opening {
            Opening::Elements { id, len } => {
                let ValueRef::Object(object) = entry.value() else { panic!("a string was opened") };
                assert_eq!(object.len(), len);
                let at = collected.insert(db, &entry, Content::empty(&object));
                assert!(collected.opened.insert(id, (at, len)).is_none(), "{id:?} came twice");
            }
            Opening::Shared(object) => {
                let id = collected.insert(db, &entry, Content::empty(&object));
                collected.shared.push((id, entry.expire_at(), object));
            }
        }
    }

    fn elements(&self, opening: OpeningId, elements: &[ElementRef<'_>]) {
        let mut collected = self.0.lock().unwrap();
        let Collected { contents, opened, closed, .. } = &mut *collected;
        assert!(!*closed, "an element came after the end");
        let (at, _) = opened.get(&opening).expect("elements come behind their opening");
        let content = &mut contents.get_mut(at).unwrap().1;
        elements.iter().for_each(|element| content.add(*element));
    }
}

impl Collector {
    /// What has come must be all of this.
    fn check(&self, expected: &Contents) {
        let mut collected = self.0.lock().unwrap();
        let Collected { contents, shared, .. } = &mut *collected;
        for (id, expire_at, object) in shared {
            contents.insert(id.clone(), (*expire_at, Content::of_object(object)));
        }
        for (id, content) in expected {
            assert_eq!(collected.contents.get(id), Some(content), "{id:?}");
        }
        for id in collected.contents.keys() {
            assert!(expected.contains_key(id), "{id:?} was not there at the cut");
        }
        for (id, len) in collected.opened.values() {
            assert_eq!(collected.contents[id].1.len(), *len, "{id:?}");
        }
    }
}

struct Writer {
    rng: StdRng,
    names: Vec<Vec<u8>>,
    /// How many different elements there are.
    elements: u32,
    now: Millis,
    /// Taken out of the keyspace, to be put back or dropped some time later.
    in_hand: Option<Removed>,
}

impl Writer {
    fn new(rng: StdRng, names: Vec<Vec<u8>>, elements: u32) -> Writer {
        Writer { rng, names, elements, now: Millis(1_000_000), in_hand: None }
    }

    fn name(&mut self) -> Vec<u8> {
        self.names.choose(&mut self.rng).unwrap().clone()
    }

    fn db(&mut self) -> DbIndex {
        DbIndex(self.rng.random_range(0..6u32).saturating_sub(3))
    }

    fn text(&mut self) -> Vec<u8> {
        match self.rng.random_range(0..30) {
            0 => vec![b'x'; LARGE_LEN_MIN + 1],
            1..10 => self.rng.random::<i64>().to_string().into_bytes(),
            _ => vec![b'y'; self.rng.random_range(0..70)],
        }
    }

    fn element(&mut self) -> Vec<u8> {
        format!("element {}", self.rng.random_range(0..self.elements)).into_bytes()
    }

    fn some_expiry(&mut self) -> Option<Millis> {
        self.rng.random_bool(0.5).then(|| Millis(self.now.0 + self.rng.random_range(0..300)))
    }

    /// Changes the value of a key, or makes one, in shards that are held.
    fn change(&mut self, space: &mut Space<'_>, db: DbIndex, key: Key<'_>) {
        let existing = space.get(db, key).map(|entry| entry.value().type_name());
        match existing {
            None => self.create(space, db, key),
            Some("string") if self.rng.random_bool(0.5) => {
                let mut entry = space.get_mut(db, key).unwrap();
                match self.rng.random_range(0..3) {
                    0 => drop(entry.append(&self.text())),
                    1 => drop(entry.set_range(self.rng.random_range(0..50), &self.text())),
                    _ => entry.set_int(self.rng.random()),
                }
            }
            Some("hash") => self.change_hash(space, db, key),
            Some("set") => self.change_set(space, db, key),
            Some("zset") => self.change_sorted_set(space, db, key),
            Some("list") => self.change_list(space, db, key),
            Some("stream") => self.change_stream(space, db, key),
            _ => self.create(space, db, key),
        }
        // As commands do: what is empty goes.
        let emptied = space.get(db, key).is_some_and(|entry| match entry.value() {
            ValueRef::Object(object) => object.is_empty(),
            ValueRef::Str(_) => false,
        });
        if emptied {
            drop(space.remove(db, key));
        }
    }

    fn create(&mut self, space: &mut Space<'_>, db: DbIndex, key: Key<'_>) {
        let expiry = self.some_expiry().map_or(Expiry::Clear, Expiry::At);
        let object: Object = match self.rng.random_range(0..10) {
            0 => Hash::default().into(),
            1 => Set::default().into(),
            2 => SortedSet::default().into(),
            3 => List::default().into(),
            4 => Stream::default().into(),
            _ => {
                space.set(db, key, NewValue::Bytes(&self.text()), expiry);
                return;
            }
        };
        space.set(db, key, NewValue::Object(object), expiry);
        for _ in 0..self.rng.random_range(1..40) {
            self.change(space, db, key);
            if space.get(db, key).is_none_or(|entry| entry.value().as_str().is_some()) {
                return;
            }
        }
    }

    fn change_hash(&mut self, space: &mut Space<'_>, db: DbIndex, key: Key<'_>) {
        let Some(mut hash) = space.get_mut(db, key).unwrap().into_typed::<Hash>() else { unreachable!() };
        let name = self.element();
        match self.rng.random_range(0..20) {
            0..14 => {
                let expiry = match self.rng.random_range(0..4) {
                    0 => Expiry::Keep,
                    1 => Expiry::At(Millis(self.now.0 + self.rng.random_range(0..300))),
                    _ => Expiry::Clear,
                };
                hash.set(&name, &self.text(), expiry, &HASH_LIMITS);
            }
            14..17 => drop(hash.remove(&name)),
            17 => drop(hash.set_expiry(&name, self.some_expiry())),
            18 if self.rng.random_bool(0.1) => drop(std::mem::take(&mut *hash)),
            _ => {
                drop(hash);
                space.expire_fields(db, key, self.now, [&*name], |_| {});
            }
        }
    }

    fn change_set(&mut self, space: &mut Space<'_>, db: DbIndex, key: Key<'_>) {
        let Some(mut set) = space.get_mut(db, key).unwrap().into_typed::<Set>() else { unreachable!() };
        let member = self.element();
        match self.rng.random_range(0..20) {
            0..14 => drop(set.insert(&member, &SET_LIMITS)),
            14 if self.rng.random_bool(0.1) => drop(std::mem::take(&mut *set)),
            _ => drop(set.remove(&member)),
        }
    }

    fn change_sorted_set(&mut self, space: &mut Space<'_>, db: DbIndex, key: Key<'_>) {
        let Some(mut sorted) = space.get_mut(db, key).unwrap().into_typed::<SortedSet>() else { unreachable!() };
        let member = self.element();
        match self.rng.random_range(0..20) {
            0..14 => {
                let score = f64::from(self.rng.random_range(0..1000));
                sorted.update(&member, &SORTED_SET_LIMITS, |_| Some(score));
            }
            14 => {
                let start = self.rng.random_range(0..=sorted.len());
                let end = self.rng.random_range(start..=sorted.len().min(start + 20));
                sorted.remove_ranks(start..end);
            }
            _ => drop(sorted.remove(&member)),
        }
    }

    fn change_list(&mut self, space: &mut Space<'_>, db: DbIndex, key: Key<'_>) {
        let Some(mut list) = space.get_mut(db, key).unwrap().into_typed::<List>() else { unreachable!() };
        let item = self.element();
        match self.rng.random_range(0..10) {
            0..6 => {
                list.grow(item.len(), 1, LIST_LIMITS);
                list.push(End::Back, item.as_slice().into());
            }
            6 => list.drop_end(End::Front, 1),
            _ => {
                let index = self.rng.random_range(0..list.len().max(1));
                if index < list.len() {
                    list.set(index, item.as_slice().into());
                }
            }
        }
    }

    fn change_stream(&mut self, space: &mut Space<'_>, db: DbIndex, key: Key<'_>) {
        let Some(mut stream) = space.get_mut(db, key).unwrap().into_typed::<Stream>() else { unreachable!() };
        let last = stream.entries.last_id().ms;
        if self.rng.random_bool(0.8) {
            stream.entries.append(StreamId::new(last + 1, 0), &[b"field".as_slice(), &self.text()], STREAM_LIMITS);
        } else {
            stream.entries.delete(StreamId::new(self.rng.random_range(0..=last), 0));
        }
    }

    /// An operation on one or two keys, whose shards are held.
    fn step_keys(&mut self, space: &mut Space<'_>, from: &[u8], to: &[u8]) {
        let (from, to) = (space.key(from), space.key(to));
        let (db, to_db) = (self.db(), self.db());
        match self.rng.random_range(0..20) {
            0..12 => self.change(space, db, from),
            12 => self.create(space, db, from),
            13 | 14 => drop(space.remove(db, from)),
            15 => drop(space.set_expiry(db, from, self.some_expiry())),
            16 => {
                let Some(removed) = space.remove(db, from) else { return };
                space.put(to_db, to, removed);
            }
            17 => {
                if let Some(removed) = std::mem::replace(&mut self.in_hand, space.remove(db, from))
                    && self.rng.random_bool(0.8)
                {
                    space.put(to_db, to, removed);
                }
            }
            _ => {
                // COPY.
                let Some(ValueRef::Object(object)) = space.get(db, from).map(|entry| entry.value()) else { return };
                let copy = object.duplicate();
                space.set(to_db, to, NewValue::Object(copy), Expiry::Clear);
            }
        }
    }

    /// Any operation at all.
    fn step(&mut self, space: &mut Space<'_>, shards: usize) {
        match self.rng.random_range(0..400) {
            0 => space.swap_dbs(self.db(), self.db()),
            1 => drop(space.flush_db(self.db())),
            2 if self.rng.random_bool(0.2) => drop(space.flush_all()),
            3..10 => {
                self.now.0 += self.rng.random_range(0..50);
                let (shard, budget) = (self.rng.random_range(0..shards), self.rng.random_range(1..20));
                space.expire_due(ShardIndex::new(shard), self.now, budget, |_, _| {});
            }
            _ => {
                let (from, to) = (self.name(), self.name());
                self.step_keys(space, &from, &to);
            }
        }
    }
}

/// What some runs came to: every case has been there.
#[derive(Debug, Default)]
struct Seen {
    snapshots: u64,
    cancelled: u64,
    keys: u64,
    openings: u64,
    orphans: u64,
    shared: u64,
    units_walked: u64,
    units_forced: u64,
}

struct Taken {
    snapshot: Snapshot,
    sink: Arc<Collector>,
    expected: Contents,
}

fn take(space: &mut Space<'_>, slice_cost_bytes: usize) -> Taken {
    let sink = Arc::new(Collector::default());
    let expected = contents(space);
    let limits = SnapshotLimits { elements_at_once_max: 8, bytes_at_once_max: 400, slice_cost_bytes };
    let snapshot = space.cut(Arc::clone(&sink) as Arc<dyn Sink>, limits);
    Taken { snapshot, sink, expected }
}

impl Taken {
    fn check(&self, seen: &mut Seen) {
        assert!(self.snapshot.is_complete());
        self.sink.0.lock().unwrap().closed = true;
        self.sink.check(&self.expected);
        let figures = self.snapshot.figures();
        seen.snapshots += 1;
        seen.keys += self.expected.len() as u64;
        seen.openings += figures.openings;
        seen.orphans += figures.orphans;
        seen.units_walked += figures.units_walked;
        seen.units_forced += figures.units_forced;
        seen.shared += self.sink.0.lock().unwrap().shared.len() as u64;
    }
}

fn run(seed: u64, limits: Limits, names: usize, elements: u32, steps: usize, seen: &mut Seen) {
    let mut rng = StdRng::seed_from_u64(seed);
    let keyspace = keyspace(&mut rng, limits);
    let shards = rng.random_range(1..3);
    let names = crowded_keys(&keyspace, shards, names);
    let walk_chance = [0.02, 0.1, 0.5].choose(&mut rng).copied().unwrap();
    let mut writer = Writer::new(rng, names, elements);
    let mut space = wide(&keyspace);
    let mut taken: Option<Taken> = None;
    // Somebody still looks at what was cancelled: that must not keep it going.
    let mut cancelled = Vec::new();
    for _ in 0..steps {
        writer.step(&mut space, shards);
        match &taken {
            None if writer.rng.random_bool(0.02) => {
                let slice_cost_bytes = writer.rng.random_range(1..20_000);
                taken = Some(take(&mut space, slice_cost_bytes));
            }
            Some(under_way) if writer.rng.random_bool(walk_chance) => {
                match under_way.snapshot.walk_slice_in(&mut space) {
                    Progress::Worked => {}
                    Progress::Waiting => assert!(writer.in_hand.is_some(), "nobody to wait for"),
                    Progress::Complete => {
                        // Whatever happens from now on adds nothing.
                        writer.step(&mut space, shards);
                        space.end_cut();
                        taken.take().unwrap().check(seen);
                    }
                    Progress::Ended => panic!("it was not ended"),
                }
            }
            Some(_) if writer.rng.random_bool(0.0005) => {
                space.end_cut();
                let ended = taken.take().unwrap();
                ended.sink.0.lock().unwrap().closed = true;
                assert_eq!(ended.snapshot.walk_slice_in(&mut space), Progress::Ended);
                cancelled.push(ended);
            }
            _ => {}
        }
    }
    seen.cancelled += cancelled.len() as u64;
    writer.in_hand = None;
    if let Some(taken) = taken {
        while taken.snapshot.walk_slice_in(&mut space) == Progress::Worked {}
        taken.check(seen);
    }
    drop(space);
}

#[test]
fn the_sink_gets_what_was_there_at_the_cut() {
    let mut rng = rng("cut");
    let mut seen = Seen::default();
    for round in 0..45 {
        let seed = rng.random();
        println!("round {round}: seed {seed}");
        let (names, elements, steps) = [(40, 100, 6000), (400, 30, 6000), (3, 3000, 8000)][round % 3];
        // Segments that only split and merge, and segments that grow and shrink as well.
        let limits = if round % 2 == 0 { TINY } else { Limits { segment_lines_max: 8, ..TINY } };
        run(seed, limits, names, elements, steps, &mut seen);
    }
    println!("{seen:?}");
    let Seen { snapshots, cancelled, keys, openings, orphans, shared, units_walked, units_forced } = seen;
    let rarest = [cancelled, openings, orphans, shared].into_iter().min().unwrap();
    assert!(snapshots > 100 && rarest > 5 && units_walked.min(units_forced).min(keys) > 1000, "{seen:?}");
}

#[test]
fn also_in_segments_as_they_are() {
    let mut rng = rng("real segments");
    let mut seen = Seen::default();
    for round in 0..4 {
        let seed = rng.random();
        println!("round {round}: seed {seed}");
        run(seed, Limits::default(), 3000, 50, 30_000, &mut seen);
    }
    println!("{seen:?}");
    assert!(seen.snapshots > 3 && seen.units_forced > 100);
}

/// Several threads write and several walk, each behind the locks of the shards it needs.
#[test]
fn walkers_and_writers_on_several_threads() {
    let mut rng = rng("threads");
    let keyspace = keyspace(&mut rng, TINY);
    let names = crowded_keys(&keyspace, 64, 1500);
    let mut seen = Seen::default();
    let mut writers: Vec<Writer> = (0..2)
        .map(|_| {
            let rng = StdRng::seed_from_u64(rng.random());
            Writer::new(rng, names.clone(), 500)
        })
        .collect();
    for writer in &mut writers {
        let mut space = wide(&keyspace);
        for _ in 0..20_000 {
            writer.step(&mut space, 64);
        }
    }
    for _ in 0..10 {
        let taken = take(&mut wide(&keyspace), 4000);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let (keyspace, done) = (&keyspace, &done);
                scope.spawn(move || {
                    while !done.load(Relaxed) {
                        let (from, to) = (writer.name(), writer.name());
                        let mut space = keyspace.narrow(&hold(keyspace, &[&from, &to]));
                        writer.step_keys(&mut space, &from, &to);
                    }
                });
            }
            for _ in 0..2 {
                let (keyspace, done, snapshot) = (&keyspace, &done, taken.snapshot.clone());
                scope.spawn(move || {
                    while snapshot.walk_slice(keyspace) != Progress::Complete {
                        std::thread::yield_now();
                    }
                    done.store(true, Relaxed);
                });
            }
        });
        wide(&keyspace).end_cut();
        taken.check(&mut seen);
    }
    println!("{seen:?}");
    assert!(seen.units_walked > 100 && seen.units_forced > 100 && seen.openings > 100, "{seen:?}");
}

/// The model test must see what it is there for.
#[cfg(feature = "planted")]
#[test]
fn planted_bugs_are_caught() {
    let status = |plant: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_sink_gets_what_was_there_at_the_cut", "--quiet"])
            .env("SPINEL_PLANT", plant)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
    };
    assert!(status("").success());
    for plant in ["uncaptured-move", "lost-stamp-in-split"] {
        assert!(!status(plant).success(), "the planted bug {plant} went unnoticed");
    }
}
