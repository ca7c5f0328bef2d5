//! How much memory is used, and by what measure.
//!
//! Two allocators hold memory: jemalloc (everything but keys), and the slab of the keyspace, which takes its pages from the
//! system itself. `used_memory` is what the data and the server need: what threads have taken from jemalloc, and what of the slab's
//! pages is in use. `maxmemory` is compared with it by every batch of commands, so it is counted as it changes: jemalloc's own figures
//! are exact too, but take a look at all its arenas. Free room in pages is fragmentation, as it is in Redis. Compared with mimalloc, jemalloc tells exact figures at any time without stopping anyone, gives unused pages back
//! from a thread of its own, and is what operators of Redis know.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use keyspace::{Millis, slab};
use tikv_jemalloc_ctl as jemalloc;

/// What jemalloc holds, in bytes. All are zero where another allocator is in use (unit tests).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorFigures {
    /// Handed out.
    pub allocated: u64,
    /// In pages of which something is handed out.
    pub active: u64,
    /// In memory.
    pub resident: u64,
    /// Given to the system to take, but not taken yet.
    pub muzzy: u64,
    /// Address space kept without memory behind it.
    pub retained: u64,
}

impl AllocatorFigures {
    pub fn read() -> AllocatorFigures {
        // The figures are those of the last epoch: begin a new one.
        let _ = jemalloc::epoch::advance();
        let pages = |name: &[u8]| {
            // SAFETY: the names below are of type `size_t`, as jemalloc's manual says.
            unsafe { jemalloc::raw::read::<usize>(name) }.unwrap_or(0) as u64
        };
        AllocatorFigures {
            allocated: jemalloc::stats::allocated::read().unwrap_or(0) as u64,
            active: jemalloc::stats::active::read().unwrap_or(0) as u64,
            resident: jemalloc::stats::resident::read().unwrap_or(0) as u64,
            // 4096 is MALLCTL_ARENAS_ALL.
            muzzy: pages(b"stats.arenas.4096.pmuzzy\0") * pages(b"arenas.page\0"),
            retained: jemalloc::stats::retained::read().unwrap_or(0) as u64,
        }
    }

    /// `jemalloc-5.3.0`
    pub fn name() -> String {
        let version = jemalloc::version::read().unwrap_or("unknown");
        format!("jemalloc-{}", version.split('-').next().unwrap_or(version))
    }
}

/// Lets jemalloc give unused memory back from a thread of its own, instead of in the middle of some command. After
/// daemonize, which no thread survives.
pub fn start_purging() {
    // Where threads are not supported pages are purged by the threads that free: slower, not wrong.
    let _ = jemalloc::background_thread::write(true);
}

/// What the counted threads have published: bytes they took from jemalloc, minus bytes they gave back.
static PUBLISHED: AtomicI64 = AtomicI64::new(0);

/// Bytes of values that are out of the keyspace and wait for the reaper.
static BEING_FREED: AtomicI64 = AtomicI64::new(0);

/// A thread publishes when so much has gathered.
const PUBLISHED_STEP_BYTES: i64 = 4096;

/// jemalloc's counters of this thread. They cost nothing beside the allocation itself, and say exactly what it took.
struct Meter {
    /// `None` where another allocator is linked.
    counters: Option<(jemalloc::thread::ThreadLocal<u64>, jemalloc::thread::ThreadLocal<u64>)>,
    published: Cell<i64>,
}

thread_local! {
    static METER: Meter = Meter {
        counters: jemalloc::thread::allocatedp::read().ok().zip(jemalloc::thread::deallocatedp::read().ok()),
        published: const { Cell::new(0) },
    };
}

impl Meter {
    /// Since the thread began. What was taken here and given back elsewhere makes one thread's figure negative, the sum never.
    #[inline]
    fn total(&self) -> i64 {
        self.counters.map_or(0, |(allocated, deallocated)| allocated.get().wrapping_sub(deallocated.get()) as i64)
    }

    #[inline]
    fn unpublished(&self) -> i64 {
        self.total() - self.published.get()
    }

    #[inline]
    fn publish(&self, from_bytes: i64) {
        let unpublished = self.unpublished();
        if unpublished.abs() >= from_bytes {
            PUBLISHED.fetch_add(unpublished, Relaxed);
            self.published.set(self.total());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.publish(1);
    }
}

/// What this thread has allocated counts as used memory from now on, also when it has ended. For every thread that takes or frees what the
/// data needs.
pub fn count_thread() {
    METER.with(|meter| meter.publish(1));
}

/// Shows others what this thread has allocated, if it is worth their while. For event loops, after each batch.
#[inline]
pub fn publish() {
    METER.with(|meter| meter.publish(PUBLISHED_STEP_BYTES));
}

/// Large values have left the keyspace, and are freed soon.
pub fn note_being_freed(bytes: u64) {
    BEING_FREED.fetch_add(bytes as i64, Relaxed);
}

/// They are freed.
pub fn note_freed(bytes: u64) {
    BEING_FREED.fetch_sub(bytes as i64, Relaxed);
}

/// Used memory now: what INFO calls `used_memory`, and what the limit is compared with. Cheap enough for every command. What is on its way to be
/// freed does not count: nobody can use it any more.
#[inline]
pub fn used_bytes() -> u64 {
    taken_bytes().saturating_sub(BEING_FREED.load(Relaxed).max(0) as u64)
}

/// What jemalloc says of itself, for people, and a line about the slab.
pub fn allocator_stats() -> String {
    let mut text = Vec::new();
    // A vector takes whatever is written to it.
    let _ = jemalloc::stats_print::stats_print(&mut text, jemalloc::stats_print::Options::default());
    let slab::SlabFigures { entry_bytes, table_bytes, page_bytes, reserve_bytes, .. } = slab::figures();
    let slab = format!(
        "Slab of the keyspace: {entry_bytes} bytes of entries and {table_bytes} of tables in {page_bytes} bytes of pages; \
         {reserve_bytes} bytes of empty pages in reserve\n"
    );
    slab + &String::from_utf8_lossy(&text)
}

/// Gives back to the system what jemalloc and the slab hold and nobody uses. May take long.
pub fn purge() {
    slab::return_reserve();
    // SAFETY: the name is one that takes no value and gives none; 4096 is MALLCTL_ARENAS_ALL.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            c"arena.4096.purge".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
        );
    }
}

/// Everything INFO knows about memory at one instant, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryFigures {
    pub used: u64,
    /// In memory, of everything: as the system counts it.
    pub resident_set: u64,
    pub peak: u64,
    pub peak_time_ms: i64,
    /// Used when the server had just started.
    pub startup: u64,
    /// jemalloc and slab together.
    pub allocator: AllocatorFigures,
    pub slab: slab::SlabFigures,
}

impl MemoryFigures {
    /// Ratio of two figures; 1 where there is nothing to compare.
    pub fn ratio(numerator: u64, denominator: u64) -> f64 {
        if denominator == 0 { 1.0 } else { numerator as f64 / denominator as f64 }
    }

    /// Resident bytes for each byte used.
    pub fn fragmentation_ratio(&self) -> f64 {
        MemoryFigures::ratio(self.resident_set, self.used)
    }
}

/// Follows used memory over time: its peak, and the last figure for those who need it often.
#[derive(Default)]
pub struct MemoryTracker {
    startup: AtomicU64,
    recent: AtomicU64,
    peak: AtomicU64,
    peak_time: AtomicI64,
}

impl MemoryTracker {
    pub const fn new() -> MemoryTracker {
        MemoryTracker {
            startup: AtomicU64::new(0),
            recent: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            peak_time: AtomicI64::new(0),
        }
    }

    /// Notes what an empty server uses: call it once everything is set up and no data is loaded.
    pub fn mark_startup(&self, now: Millis) {
        self.startup.store(self.sample(now), Relaxed);
    }

    /// Reads used memory and follows the peak: for the cron, ten times a second.
    pub fn sample(&self, now: Millis) -> u64 {
        self.note(used_bytes(), now)
    }

    fn note(&self, used: u64, now: Millis) -> u64 {
        self.recent.store(used, Relaxed);
        if self.peak.fetch_max(used, Relaxed) < used {
            self.peak_time.store(now.0, Relaxed);
        }
        used
    }

    /// Used when the server had just started.
    pub fn startup(&self) -> u64 {
        self.startup.load(Relaxed)
    }

    /// Used memory at the last sample.
    pub fn recent(&self) -> u64 {
        self.recent.load(Relaxed)
    }

    /// CONFIG RESETSTAT: the peak starts from the present value.
    pub fn reset_peak(&self, now: Millis) {
        self.peak.store(self.sample(now), Relaxed);
        self.peak_time.store(now.0, Relaxed);
    }

    /// All figures, fresh.
    pub fn figures(&self, now: Millis) -> MemoryFigures {
        let jemalloc = AllocatorFigures::read();
        let slab = slab::figures();
        let used = self.note(used_bytes(), now);
        let allocator = AllocatorFigures {
            allocated: jemalloc.allocated + (slab.entry_bytes + slab.table_bytes) as u64,
            active: jemalloc.active + slab.page_bytes as u64,
            resident: jemalloc.resident + (slab.page_bytes + slab.reserve_bytes) as u64,
            ..jemalloc
        };
        MemoryFigures {
            used,
            resident_set: resident_set(),
            peak: self.peak.load(Relaxed),
            peak_time_ms: self.peak_time.load(Relaxed),
            startup: self.startup.load(Relaxed),
            allocator,
            slab,
        }
    }
}

/// All that is taken and not given back. Exact but for a few KiB of each other thread.
#[inline]
fn taken_bytes() -> u64 {
    let counted = PUBLISHED.load(Relaxed) + METER.with(Meter::unpublished);
    counted.max(0) as u64 + slab::live_bytes() as u64
}

fn page_bytes() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().map_or(4096, |bytes| bytes as u64)
}

/// Bytes of this process in memory, as `/proc/self/statm` says.
pub fn resident_set() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * page_bytes()
}

/// Memory of the machine.
pub fn system_total() -> u64 {
    let pages = nix::unistd::sysconf(nix::unistd::SysconfVar::_PHYS_PAGES);
    pages.ok().flatten().map_or(0, |pages| pages as u64) * page_bytes()
}

/// Bytes for people, as Redis writes them: `1.23M`.
pub fn human(bytes: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let unit = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
    format!("{:.2}{}", bytes as f64 / (1u64 << (10 * unit)) as f64, UNITS[unit - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts as `used_memory_human` and its like show them on Redis 8.2.
    #[test]
    fn bytes_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (192, "192B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (32768, "32.00K"),
            (746_232, "728.74K"),
            (6_438_912, "6.14M"),
            (25_276_502_016, "23.54G"),
            (1 << 40, "1.00T"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn the_peak_is_the_highest_sample_until_it_is_reset() {
        let tracker = MemoryTracker::new();
        tracker.note(100, Millis(1));
        tracker.note(300, Millis(2));
        tracker.note(200, Millis(3));
        assert_eq!((tracker.recent(), tracker.peak.load(Relaxed), tracker.peak_time.load(Relaxed)), (200, 300, 2));
    }

    #[test]
    fn the_system_tells_its_figures() {
        assert!(resident_set() > 100_000);
        assert!(system_total() > resident_set());
        assert!(AllocatorFigures::name().starts_with("jemalloc-5."));
    }
}
