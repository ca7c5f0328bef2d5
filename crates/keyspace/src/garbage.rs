//! What is too large to be freed on an event loop.

use std::sync::{Arc, OnceLock};

use crate::collection::Object;
use crate::snapshot::Orphan;

/// Texts of at least this many bytes go to the reaper; freeing less costs no more than handing it over.
const GARBAGE_BYTES_MIN: usize = 64 * 1024;

static REAPER: OnceLock<fn(Garbage)> = OnceLock::new();

/// Sets where large values go when they are overwritten or removed: the server sends them to a thread that drops them. Without a reaper they are freed
/// at once. The first call decides, for the whole process.
pub fn set_reaper(reaper: fn(Garbage)) {
    let _ = REAPER.set(reaper);
}

/// A large value that is out of the keyspace; freed when dropped.
pub struct Garbage {
    _held: Held,
    bytes: usize,
}

#[expect(dead_code, reason = "held to be dropped")]
enum Held {
    Text(Arc<Vec<u8>>),
    Object(Object),
    Orphan(Box<Orphan>),
}

impl Garbage {
    /// About how many bytes this frees.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

pub(crate) fn release_text(text: Arc<Vec<u8>>) {
    let bytes = text.capacity();
    match REAPER.get() {
        Some(reaper) if bytes >= GARBAGE_BYTES_MIN => reaper(Garbage { _held: Held::Text(text), bytes }),
        _ => drop(text),
    }
}

/// A collection that a snapshot has opened and not walked yet is the snapshot's.
pub(crate) fn release_object(mut object: Object) {
    if let Some(opening) = object.opened().and_then(|opened| opened.opening().take())
        && opening.capture().is_some()
    {
        return opening.give(object);
    }
    match REAPER.get() {
        // Which it is must not cost a walk over the object: its bytes are a guess.
        Some(reaper) if object.is_slow_to_free() => {
            let bytes = object.memory_usage(8);
            reaper(Garbage { _held: Held::Object(object), bytes });
        }
        _ => drop(object),
    }
}

/// A table that was walked after it had left the keyspace. FLUSHDB has counted its bytes as freed.
pub(crate) fn release_orphan(orphan: Box<Orphan>) {
    match REAPER.get() {
        Some(reaper) if orphan.len() > 0 => reaper(Garbage { _held: Held::Orphan(orphan), bytes: 0 }),
        _ => drop(orphan),
    }
}
