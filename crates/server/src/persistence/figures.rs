//! What INFO tells about persistence.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};

/// Written by the job thread, and by whoever begins and ends jobs.
#[derive(Debug)]
pub struct Figures {
    pub loading: AtomicBool,
    /// And the old data are served meanwhile.
    pub async_loading: AtomicBool,
    pub load_began_seconds: AtomicI64,
    pub load_total_bytes: AtomicU64,
    pub load_done_bytes: AtomicU64,
    pub last_load_keys: AtomicU64,
    pub last_load_expired: AtomicU64,
    /// Of the snapshot under way.
    pub keys_total: AtomicU64,
    pub keys_done: AtomicU64,
    /// The most that waited in memory to be written during the last snapshot.
    pub last_captured_bytes: AtomicU64,
    pub saves: AtomicU64,
    pub last_save_failed: AtomicBool,
    /// -1: none yet; likewise below.
    pub last_save_seconds: AtomicI64,
    /// Changes counted before the last snapshot.
    pub saved_changes: AtomicU64,
    pub rewrites: AtomicU64,
    pub rewrite_failures: AtomicU64,
    pub last_rewrite_failed: AtomicBool,
    pub last_rewrite_seconds: AtomicI64,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            loading: AtomicBool::default(),
            async_loading: AtomicBool::default(),
            load_began_seconds: AtomicI64::default(),
            load_total_bytes: AtomicU64::default(),
            load_done_bytes: AtomicU64::default(),
            last_load_keys: AtomicU64::default(),
            last_load_expired: AtomicU64::default(),
            keys_total: AtomicU64::default(),
            keys_done: AtomicU64::default(),
            last_captured_bytes: AtomicU64::default(),
            saves: AtomicU64::default(),
            last_save_failed: AtomicBool::default(),
            last_save_seconds: AtomicI64::new(-1),
            saved_changes: AtomicU64::default(),
            rewrites: AtomicU64::default(),
            rewrite_failures: AtomicU64::default(),
            last_rewrite_failed: AtomicBool::default(),
            last_rewrite_seconds: AtomicI64::new(-1),
        }
    }
}
