//! The keyspace: where keys and their values live, and when they expire.
//!
//! **Owns** the shards and their locks, the hash table, the memory of entries, the values, expiry, and the walks over all of it
//! (SCAN, expiry, compaction, snapshots). **Must not know** commands, sockets, threads, or clocks: time is passed in as [`Millis`], and what is too
//! large to free at once is handed out ([`set_reaper`], [`Dropped`]).
//!
//! **Start** with [`Keyspace`] and [`Space`] in `space.rs`: a [`Space`] is exclusive access to some shards, *narrow* behind their locks or *wide*
//! behind the gates of the server, and the only way to touch a key. Then, from the outside in: `entry.rs` (a key and its value
//! in one allocation), `table/` (extendible hashing in small segments), `slab.rs` (the allocator of entries). `snapshot.rs` is how all of it is seen
//! as it was at one instant.
//!
//! ```
//! use keyspace::{DbIndex, Expiry, Held, Keyspace, NewValue, Options};
//!
//! let keyspace = Keyspace::new(&Options { seed: [1, 2, 3, 4], ..Options::default() });
//! let key = keyspace.key(b"greeting");
//! let mut held = Held::new();
//! held.insert(key.shard());
//! let mut space = keyspace.narrow(&held);
//! space.set(DbIndex(0), key, NewValue::Bytes(b"hello"), Expiry::Clear);
//! let entry = space.get(DbIndex(0), key).unwrap();
//! assert_eq!(entry.value().encoding_name(), "embstr");
//! ```

pub mod collection;
mod entry;
pub mod eviction;
mod garbage;
mod hash;
pub mod lzf;
mod planted;
mod prefetch;
mod shard_lock;
pub mod slab;
pub mod snapshot;
mod space;
mod table;
mod types;
mod value;

pub use collection::{
    Collection, End, FieldRef, Hash, List, ListFigures, ListItem, Listpack, NewItem, Object, ObjectRef, Set, SortedSet,
    Stream, TypedMut, TypedRef,
};
pub use entry::{Entry, EntryMut, Removed};
pub use garbage::{Garbage, set_reaper};
pub use snapshot::{
    ELEMENT_COST_BYTES, ElementRef, KEY_COST_BYTES, Opening, OpeningId, Progress, Sink, Snapshot, SnapshotFigures,
    SnapshotLimits,
};
pub use space::{
    Compaction, Cursor, Dropped, ElementAhead, Elements, Expired, Held, Keyspace, Options, Space, TableFigures,
};
pub use table::Limits;
pub use types::{DbIndex, Key, Millis, SHARD_BITS, SHARD_COUNT, ShardIndex};
pub use value::{
    Expiry, GROWN_INLINE_LEN_MAX, IntBuffer, LARGE_LEN_MIN, LargeRef, NewValue, StrRef, StrRepr, ValueRef,
    canonical_int,
};
