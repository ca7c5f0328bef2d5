//! What is too large to be freed on an event loop.

use std::sync::{Arc, OnceLock};

use crate::Object;

/// Out-of-line values of at least this many bytes go to the reaper; freeing less costs no more than handing it over.
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
    Object(Box<Object>),
}

impl Garbage {
    /// About how many bytes this frees.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn release(held: Held, bytes: usize) {
    match REAPER.get() {
        Some(reaper) if bytes >= GARBAGE_BYTES_MIN => reaper(Garbage { _held: held, bytes }),
        _ => drop(held),
    }
}

pub(crate) fn release_text(text: Arc<Vec<u8>>) {
    let bytes = text.capacity();
    release(Held::Text(text), bytes);
}

pub(crate) fn release_object(object: Box<Object>) {
    let bytes = object.memory_usage();
    release(Held::Object(object), bytes);
}
