//! The allocator of entries and segments: exact classes, and memory that can be given back.
//!
//! A general allocator loses 10 to 20 % on objects of 30 to 100 bytes (its classes are 16 bytes apart or more), cannot say how full a page
//! is, and cannot move anything. Entries and segments can be moved, because each is found again from its key; so this one knows how
//! full its pages are and tells the walk of [`Keyspace::compact`](crate::Keyspace::compact) what to move.
//!
//! - A *chunk* is 4 MiB from the kernel, aligned to its size, so that an address leads to it by masking. Chunks stay with their arena.
//! - A *page* is 16 KiB of a chunk, or 64 KiB for blocks of tables and what is as large, and holds slots of one class. The first page of a chunk holds the headers of
//!   the others: a page that is given back to the kernel keeps its header, and slots fill pages from the first byte to the last.
//! - An *arena* is a set of chunks behind a lock. Each event loop allocates from its own ([`use_arena`]), so that the lock is nobody
//!   else's in the usual case; memory is freed to the arena it came from, whichever thread frees it.
//!
//! Entries above [`PAGED_BYTES_MAX`] go to the global allocator. The caller always knows the size of what it frees.

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

/// The number of arenas. With more threads than that, some share one.
pub const ARENA_COUNT: usize = 64;

/// The largest size served from small pages.
const SLOT_BYTES_MAX: usize = 1024;

/// The largest entry and run served from pages, and the largest block of a table. A general allocator puts a few of such size on each run of its
/// own pages, and cannot move them: of 1,500-byte values of which four fifths were deleted at random, three times as much stayed resident as was used.
pub const PAGED_BYTES_MAX: usize = 4096;
const BLOCK_BYTES_MAX: usize = PAGED_BYTES_MAX;

const CHUNK_BYTES: usize = 4 << 20;

/// Empty pages a pool keeps, in bytes, before it gives further ones back to the kernel.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// Below this much free room in pages compaction is not worth a walk.
const COMPACTION_GAIN_BYTES_MIN: usize = 1 << 20;

/// A walk is worth it when this part of the pages is free room, ...
const COMPACTION_FREE_DIVISOR: usize = 8;

/// ... and after a walk that gave back less than this part of them (each page was too full to be moved), when this part more is.
const COMPACTION_STEP_DIVISOR: usize = 20;

const FINE_STEP: usize = 8;
const FINE_BYTES_MAX: usize = 512;
const FINE_CLASSES: usize = FINE_BYTES_MAX / FINE_STEP;
const COARSE_STEP: usize = 32;
const SLOT_CLASSES: usize = FINE_CLASSES + (SLOT_BYTES_MAX - FINE_BYTES_MAX) / COARSE_STEP;
/// Beyond the slots: blocks of tables, whose sizes are all among these, and runs.
const BLOCK_STEP: usize = 64;
const NODE_CLASS: usize = SLOT_CLASSES + (BLOCK_BYTES_MAX - SLOT_BYTES_MAX) / BLOCK_STEP;
const CLASS_COUNT: usize = NODE_CLASS + 1;

/// A full node of a list: two of them are a page, and nothing is left. A general allocator keeps notes of a hundred bytes and more about each.
const NODE_BYTES: usize = 8 << 10;

/// Smaller runs than this, down to [`BLOCK_BYTES_MAX`], fit a class of the global allocator better.
const NODE_BYTES_MIN: usize = 7 << 10;

/// Sizes of the global allocator are rounded to this, so that a value can change a little in place.
const DIRECT_STEP: usize = 16;

#[inline]
fn class_of(size: usize) -> usize {
    debug_assert!((1..=BLOCK_BYTES_MAX).contains(&size) || is_node(size));
    if size <= FINE_BYTES_MAX {
        (size - 1) / FINE_STEP
    } else if size <= SLOT_BYTES_MAX {
        FINE_CLASSES + (size - FINE_BYTES_MAX - 1) / COARSE_STEP
    } else if size <= BLOCK_BYTES_MAX {
        SLOT_CLASSES + (size - SLOT_BYTES_MAX - 1) / BLOCK_STEP
    } else {
        NODE_CLASS
    }
}

#[inline]
fn is_node(size: usize) -> bool {
    (NODE_BYTES_MIN + 1..=NODE_BYTES).contains(&size)
}

#[inline]
fn class_bytes(class: usize) -> usize {
    if class < FINE_CLASSES {
        (class + 1) * FINE_STEP
    } else if class < SLOT_CLASSES {
        FINE_BYTES_MAX + (class - FINE_CLASSES + 1) * COARSE_STEP
    } else if class < NODE_CLASS {
        SLOT_BYTES_MAX + (class - SLOT_CLASSES + 1) * BLOCK_STEP
    } else {
        NODE_BYTES
    }
}

/// Chunks are cut into pages of one size: small pages are given back sooner, large ones waste less behind the last slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PageSize {
    Slots,
    Blocks,
}

impl PageSize {
    #[inline]
    fn of(class: usize) -> PageSize {
        // Nodes are never moved: in small pages, fewer of them keep what is free from being given back.
        if class < SLOT_CLASSES || class == NODE_CLASS { PageSize::Slots } else { PageSize::Blocks }
    }

    #[inline]
    const fn bytes(self) -> usize {
        match self {
            PageSize::Slots => 16 << 10,
            PageSize::Blocks => 64 << 10,
        }
    }

    const fn per_chunk(self) -> usize {
        CHUNK_BYTES / self.bytes()
    }
}

/// The bytes that an allocation of `size` really takes; sizes with the same figure can take each other's place.
#[inline]
pub(crate) fn rounded(size: usize) -> usize {
    if size <= PAGED_BYTES_MAX { class_bytes(class_of(size)) } else { size.next_multiple_of(DIRECT_STEP) }
}

/// Where a page stands. `Partial` and `Evacuating` pages are in a list of their class, `Empty` ones in a list of their arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum PageState {
    Empty,
    Partial,
    Full,
    /// Compaction is emptying it: nothing is allocated here while there is another page.
    Evacuating,
}

/// No free slot: places are offsets in the page divided by 8, below 8192.
const NO_SLOT: u16 = u16::MAX;

/// The header of a page: one cache line, zero in a fresh chunk.
///
/// Never behind a reference, always in place through its pointer: its fields are the arena's, but for `arena` itself, which others read without the lock.
#[repr(C, align(64))]
struct Page {
    next: *mut Page,
    prev: *mut Page,
    /// Written when the page is taken, while no slot leads here; the same for all pages of a chunk, for ever.
    arena: u16,
    class: u16,
    used: u16,
    capacity: u16,
    /// First of the freed slots, linked through their first two bytes.
    free: u16,
    /// First place that no slot has been cut from yet.
    uncut: u16,
    state: PageState,
}

const _: () = assert!(size_of::<Page>() * PageSize::Slots.per_chunk() <= PageSize::Slots.bytes());

impl Page {
    /// The header of the page that holds `slot`.
    #[inline]
    fn of(slot: NonNull<u8>, size: PageSize) -> *mut Page {
        let address = slot.as_ptr().expose_provenance();
        let chunk = address & !(CHUNK_BYTES - 1);
        let index = (address - chunk) / size.bytes();
        debug_assert!(index != 0, "the first page holds headers, no slots");
        ptr::with_exposed_provenance_mut(chunk + index * size_of::<Page>())
    }

    #[inline]
    fn memory(page: *mut Page, size: PageSize) -> *mut u8 {
        let address = page.expose_provenance();
        let chunk = address & !(CHUNK_BYTES - 1);
        let index = (address - chunk) / size_of::<Page>();
        ptr::with_exposed_provenance_mut(chunk + index * size.bytes())
    }
}

/// A doubly linked list of page headers, empty when null.
#[derive(Clone, Copy)]
struct PageList(*mut Page);

impl PageList {
    const EMPTY: PageList = PageList(ptr::null_mut());

    /// # Safety
    /// `page` is live, in no list, and the arena of both is locked; likewise below.
    unsafe fn push_front(&mut self, page: *mut Page) {
        // SAFETY: the caller's promise.
        unsafe {
            (*page).prev = ptr::null_mut();
            (*page).next = self.0;
            if !self.0.is_null() {
                (*self.0).prev = page;
            }
        }
        self.0 = page;
    }

    /// Keeps the front, which is being filled, in front.
    unsafe fn push_second(&mut self, page: *mut Page) {
        let front = self.0;
        if front.is_null() {
            // SAFETY: the caller's promise.
            return unsafe { self.push_front(page) };
        }
        // SAFETY: the caller's promise; `front` is in this list.
        unsafe {
            let next = (*front).next;
            (*page).prev = front;
            (*page).next = next;
            (*front).next = page;
            if !next.is_null() {
                (*next).prev = page;
            }
        }
    }

    unsafe fn unlink(&mut self, page: *mut Page) {
        // SAFETY: the caller's promise; `page` is in this list.
        unsafe {
            let (prev, next) = ((*page).prev, (*page).next);
            if prev.is_null() {
                debug_assert_eq!(self.0, page);
                self.0 = next;
            } else {
                (*prev).next = next;
            }
            if !next.is_null() {
                (*next).prev = prev;
            }
        }
    }

    unsafe fn pop_front(&mut self) -> Option<*mut Page> {
        let page = self.0;
        if page.is_null() {
            return None;
        }
        // SAFETY: the caller's promise.
        unsafe { self.unlink(page) };
        Some(page)
    }
}

#[derive(Clone, Copy)]
struct ClassPages {
    /// Pages with free slots; the front one is being filled.
    partial: PageList,
    evacuating: PageList,
}

/// Chunks of one page size.
#[derive(Clone, Copy)]
struct Pool {
    /// Empty pages whose memory is still there.
    reserve: PageList,
    reserve_len: usize,
    /// Empty pages whose memory went back to the kernel.
    returned: PageList,
    /// The newest chunk, and how many pages at its end were never used.
    chunk: *mut u8,
    untouched: usize,
}

struct ArenaState {
    classes: [ClassPages; CLASS_COUNT],
    pools: [Pool; 2],
}

// SAFETY: the pointers lead to chunks that this state owns, and is reached only under the arena's lock.
unsafe impl Send for ArenaState {}

#[repr(align(128))]
struct Arena {
    state: Mutex<ArenaState>,
    /// Bytes of slots in use. Written under the lock, read without.
    entry_bytes: AtomicUsize,
    /// Bytes of blocks that tables use.
    table_bytes: AtomicUsize,
    page_bytes: AtomicUsize,
    reserve_bytes: AtomicUsize,
    /// Pages that compaction emptied, since the start.
    evacuated_bytes: AtomicUsize,
    /// Bytes that threads of this arena took from the global allocator minus what they freed there; may wrap, the sum does not.
    direct_bytes: AtomicUsize,
}

impl Arena {
    const fn new() -> Arena {
        Arena {
            state: Mutex::new(ArenaState {
                classes: [ClassPages { partial: PageList::EMPTY, evacuating: PageList::EMPTY }; CLASS_COUNT],
                pools: [Pool {
                    reserve: PageList::EMPTY,
                    reserve_len: 0,
                    returned: PageList::EMPTY,
                    chunk: ptr::null_mut(),
                    untouched: 0,
                }; 2],
            }),
            entry_bytes: AtomicUsize::new(0),
            table_bytes: AtomicUsize::new(0),
            page_bytes: AtomicUsize::new(0),
            reserve_bytes: AtomicUsize::new(0),
            evacuated_bytes: AtomicUsize::new(0),
            direct_bytes: AtomicUsize::new(0),
        }
    }
}

static ARENAS: [Arena; ARENA_COUNT] = [const { Arena::new() }; ARENA_COUNT];

/// Arenas from this one on were never allocated from. All threads begin with the first.
static ARENAS_USED: AtomicUsize = AtomicUsize::new(1);

thread_local! {
    static ARENA: Cell<u16> = const { Cell::new(0) };
}

/// From now on this thread allocates from the arena of thread `index`, counted around from [`ARENA_COUNT`] on.
pub fn use_arena(index: usize) {
    ARENA.set((index % ARENA_COUNT) as u16);
    ARENAS_USED.fetch_max(index % ARENA_COUNT + 1, Relaxed);
}

#[inline]
fn add(counter: &AtomicUsize, amount: usize) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

#[inline]
fn subtract(counter: &AtomicUsize, amount: usize) {
    counter.store(counter.load(Relaxed).wrapping_sub(amount), Relaxed);
}

fn direct_layout(size: usize) -> Layout {
    Layout::from_size_align(rounded(size), DIRECT_STEP).expect("an entry fits the address space")
}

/// Memory for an entry of `size` bytes, aligned to 8.
#[inline]
pub(crate) fn allocate(size: usize) -> NonNull<u8> {
    if size > PAGED_BYTES_MAX {
        let layout = direct_layout(size);
        // SAFETY: the layout is not empty.
        let memory = unsafe { std::alloc::alloc(layout) };
        let Some(memory) = NonNull::new(memory) else { std::alloc::handle_alloc_error(layout) };
        ARENAS[ARENA.get() as usize].direct_bytes.fetch_add(layout.size(), Relaxed);
        return memory;
    }
    take_slot(size, |arena| &arena.entry_bytes)
}

/// # Safety
/// `memory` came from [`allocate`] with a size of the same [`rounded`] figure, and is not used any more.
#[inline]
pub(crate) unsafe fn free(memory: NonNull<u8>, size: usize) {
    if size > PAGED_BYTES_MAX {
        let layout = direct_layout(size);
        ARENAS[ARENA.get() as usize].direct_bytes.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise: allocated with this layout.
        return unsafe { std::alloc::dealloc(memory.as_ptr(), layout) };
    }
    // SAFETY: the caller's promise.
    unsafe { free_slot(memory, size, |arena| &arena.entry_bytes) }
}

/// A block for a table: zeroed, and aligned to 64.
///
/// # Panics
/// If `size` is not the size of a class.
pub(crate) fn allocate_block(size: usize) -> NonNull<u8> {
    assert!(size.is_multiple_of(64) && size <= BLOCK_BYTES_MAX && class_bytes(class_of(size)) == size);
    let block = take_slot(size, |arena| &arena.table_bytes);
    // SAFETY: so many bytes were allocated.
    unsafe { block.write_bytes(0, size) };
    block
}

/// # Safety
/// `memory` came from [`allocate_block`] with this size, and is not used any more.
pub(crate) unsafe fn free_block(memory: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { free_slot(memory, size, |arena| &arena.table_bytes) }
}

/// The bytes that a run of `size` takes: a piece of a collection that holds many elements, and is never moved.
pub(crate) fn rounded_run(size: usize) -> usize {
    if size <= BLOCK_BYTES_MAX || is_node(size) {
        class_bytes(class_of(size))
    } else {
        // Four classes from one power of two to the next, as the global allocator has them: the room is there, and may be used.
        size.next_multiple_of(1 << ((size - 1).ilog2() - 2))
    }
}

/// Memory for a run of `size` bytes, aligned to 8.
pub(crate) fn allocate_run(size: usize) -> NonNull<u8> {
    if size <= BLOCK_BYTES_MAX || is_node(size) {
        return take_slot(size, |arena| &arena.entry_bytes);
    }
    allocate(rounded_run(size))
}

/// # Safety
/// `memory` came from [`allocate_run`] with a size of the same [`rounded_run`] figure, and is not used any more.
pub(crate) unsafe fn free_run(memory: NonNull<u8>, size: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if size <= BLOCK_BYTES_MAX || is_node(size) {
            return free_slot(memory, size, |arena| &arena.entry_bytes);
        }
        free(memory, rounded_run(size))
    }
}

#[inline]
fn take_slot(size: usize, counter: impl Fn(&Arena) -> &AtomicUsize) -> NonNull<u8> {
    let arena_index = ARENA.get();
    let arena = &ARENAS[arena_index as usize];
    let class = class_of(size);
    let bytes = class_bytes(class);
    let page_size = PageSize::of(class);
    let mut state = arena.state.lock();
    let mut page = state.classes[class].partial.0;
    if page.is_null() {
        page = state.page_for(arena, arena_index, class);
    }
    // SAFETY: the page is partial and of this class, its arena is locked, and either a freed slot or uncut room exists,
    // because `used` is below `capacity`.
    let slot = unsafe {
        let place = (*page).free;
        let slot;
        if place != NO_SLOT {
            slot = Page::memory(page, page_size).add(place as usize * 8);
            (*page).free = slot.cast::<u16>().read();
        } else {
            slot = Page::memory(page, page_size).add((*page).uncut as usize * 8);
            (*page).uncut += (bytes / 8) as u16;
        }
        (*page).used += 1;
        if (*page).used == (*page).capacity {
            (*page).state = PageState::Full;
            state.classes[class].partial.unlink(page);
        }
        NonNull::new_unchecked(slot)
    };
    add(counter(arena), bytes);
    slot
}

/// # Safety
/// As for [`free`], for sizes that are served from pages.
#[inline]
unsafe fn free_slot(memory: NonNull<u8>, size: usize, counter: impl Fn(&Arena) -> &AtomicUsize) {
    let class = class_of(size);
    let page_size = PageSize::of(class);
    let page = Page::of(memory, page_size);
    // SAFETY: the header of a page in use is live, and its arena never changes, so that it may be read before the lock.
    let arena = &ARENAS[unsafe { (*page).arena } as usize];
    let mut state = arena.state.lock();
    // SAFETY: the arena is locked; the slot belongs to this page and nobody uses it.
    unsafe {
        assert_eq!(class, (*page).class as usize, "freed with another size than allocated");
        let place = (memory.as_ptr().addr() & (page_size.bytes() - 1)) / 8;
        memory.as_ptr().cast::<u16>().write((*page).free);
        (*page).free = place as u16;
        (*page).used -= 1;
        subtract(counter(arena), class_bytes(class));
        if (*page).used == 0 {
            match (*page).state {
                PageState::Partial => state.classes[class].partial.unlink(page),
                PageState::Evacuating => {
                    state.classes[class].evacuating.unlink(page);
                    add(&arena.evacuated_bytes, page_size.bytes());
                }
                PageState::Full | PageState::Empty => {
                    unreachable!("pages hold more than one slot, and this one was in use")
                }
            }
            state.retire(arena, page, page_size);
        } else if (*page).state == PageState::Full {
            (*page).state = PageState::Partial;
            state.classes[class].partial.push_second(page);
        }
    }
}

/// Whether compaction should move what lies here: its page is sparse, and allocation now avoids it.
///
/// # Safety
/// `memory` came from [`allocate`] with a size of the same [`rounded`] figure, or from [`allocate_block`] with this size, and is live.
/// An entry's size is at most [`PAGED_BYTES_MAX`].
pub(crate) unsafe fn should_move(memory: NonNull<u8>, size: usize) -> bool {
    let page = Page::of(memory, PageSize::of(class_of(size)));
    // SAFETY: as in `free_slot`.
    let arena = &ARENAS[unsafe { (*page).arena } as usize];
    let mut state = arena.state.lock();
    // SAFETY: the arena is locked.
    let moves = unsafe {
        let class = &mut state.classes[(*page).class as usize];
        match (*page).state {
            PageState::Evacuating => true,
            // The front page takes what is moved out of the others. Pages above 3/4 are left alone: moving costs more than it gains.
            PageState::Partial if class.partial.0 != page && (*page).used * 4 < (*page).capacity * 3 => {
                class.partial.unlink(page);
                (*page).state = PageState::Evacuating;
                class.evacuating.push_front(page);
                true
            }
            _ => false,
        }
    };
    drop(state);
    if moves { &COMPACTION.moved } else { &COMPACTION.left }.fetch_add(1, Relaxed);
    moves
}

/// A copy in a denser page, where compaction should move what lies here. Who uses it frees the old one.
///
/// # Safety
/// As for [`should_move`]; the caller holds the memory alone.
pub(crate) unsafe fn copy_if_sparse(memory: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
    // SAFETY: the caller's promise; the copy has the same size.
    unsafe {
        if size > PAGED_BYTES_MAX || !should_move(memory, size) {
            return None;
        }
        let copy = allocate(size);
        ptr::copy_nonoverlapping(memory.as_ptr(), copy.as_ptr(), size);
        Some(copy)
    }
}

/// The same bytes in memory of another size, as many of them as fit.
///
/// # Safety
/// As for [`free`], with `old_size`.
pub(crate) unsafe fn reallocate(memory: NonNull<u8>, old_size: usize, new_size: usize) -> NonNull<u8> {
    let grown = allocate(new_size);
    // SAFETY: the caller's promise; both have so many bytes.
    unsafe {
        ptr::copy_nonoverlapping(memory.as_ptr(), grown.as_ptr(), old_size.min(new_size));
        free(memory, old_size);
    }
    grown
}

impl ArenaState {
    /// A page with room for `class`, put in front of its list.
    #[cold]
    fn page_for(&mut self, arena: &Arena, arena_index: u16, class: usize) -> *mut Page {
        // SAFETY: `self` is this arena's state, locked; every page in its lists is live.
        unsafe {
            if let Some(page) = self.classes[class].evacuating.pop_front() {
                (*page).state = PageState::Partial;
                self.classes[class].partial.push_front(page);
                return page;
            }
            let page_size = PageSize::of(class);
            let pool = &mut self.pools[page_size as usize];
            let page = if let Some(page) = pool.reserve.pop_front() {
                pool.reserve_len -= 1;
                subtract(&arena.reserve_bytes, page_size.bytes());
                page
            } else if let Some(page) = pool.returned.pop_front() {
                page
            } else {
                pool.untouched_page(page_size)
            };
            add(&arena.page_bytes, page_size.bytes());
            page.write(Page {
                next: ptr::null_mut(),
                prev: ptr::null_mut(),
                arena: arena_index,
                class: class as u16,
                used: 0,
                capacity: (page_size.bytes() / class_bytes(class)) as u16,
                free: NO_SLOT,
                uncut: 0,
                state: PageState::Partial,
            });
            self.classes[class].partial.push_front(page);
            page
        }
    }

    /// Takes a page that holds nothing and is in no list.
    fn retire(&mut self, arena: &Arena, page: *mut Page, page_size: PageSize) {
        subtract(&arena.page_bytes, page_size.bytes());
        let pool = &mut self.pools[page_size as usize];
        // SAFETY: the page is live and nothing in it is used; its memory may vanish.
        unsafe {
            (*page).state = PageState::Empty;
            if pool.reserve_len * page_size.bytes() < RESERVE_BYTES_MAX {
                pool.reserve.push_front(page);
                pool.reserve_len += 1;
                add(&arena.reserve_bytes, page_size.bytes());
            } else {
                return_to_kernel(page, page_size);
                pool.returned.push_front(page);
            }
        }
    }
}

impl Pool {
    fn untouched_page(&mut self, page_size: PageSize) -> *mut Page {
        if self.untouched == 0 {
            // The first chunk of a pool never gets huge pages: a small server stays small.
            let huge = !self.chunk.is_null() && HUGE_PAGES.load(Relaxed);
            self.chunk = map_chunk(huge);
            self.untouched = page_size.per_chunk() - 1;
        }
        // SAFETY: the chunk starts with a header for each of its pages.
        let page = unsafe { self.chunk.cast::<Page>().add(page_size.per_chunk() - self.untouched) };
        self.untouched -= 1;
        page
    }
}

static HUGE_PAGES: AtomicBool = AtomicBool::new(false);

/// Whether chunks mapped from now on ask the kernel for huge pages: lookups among many keys get faster by a tenth or more (fewer TLB misses), and the
/// resident size grows in steps of 2 MiB. Off at start. A chunk that has given pages back loses its huge pages for good, so that the kernel does not
/// fill the holes again.
pub fn use_huge_pages(yes: bool) {
    HUGE_PAGES.store(yes, Relaxed);
}

#[cfg(not(miri))]
fn map_chunk(huge: bool) -> *mut u8 {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
    let span = 2 * CHUNK_BYTES;
    // SAFETY: a new private mapping at an address of the kernel's choice; what is cut off below was never handed out.
    unsafe {
        let Ok(start) = mmap_anonymous(
            ptr::null_mut(),
            span,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        ) else {
            std::alloc::handle_alloc_error(Layout::from_size_align_unchecked(CHUNK_BYTES, CHUNK_BYTES))
        };
        let start = start.cast::<u8>();
        let before = start.addr().next_multiple_of(CHUNK_BYTES) - start.addr();
        let chunk = start.add(before);
        let after = span - before - CHUNK_BYTES;
        // Failing to trim wastes address space and nothing else.
        if before > 0 {
            let _ = munmap(start.cast(), before);
        }
        if after > 0 {
            let _ = munmap(chunk.add(CHUNK_BYTES).cast(), after);
        }
        // A kernel that refuses has no huge pages to give.
        if huge {
            let _ = madvise(chunk.cast(), CHUNK_BYTES, Advice::LinuxHugepage);
        }
        chunk.expose_provenance();
        chunk
    }
}

/// Miri knows no mmap with alignment games: the global allocator stands in.
#[cfg(miri)]
fn map_chunk(_huge: bool) -> *mut u8 {
    // SAFETY: the layout is not empty.
    let chunk = unsafe { std::alloc::alloc_zeroed(Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES).unwrap()) };
    chunk.expose_provenance();
    chunk
}

/// # Safety
/// Nothing in the page is used, and its arena is locked.
unsafe fn return_to_kernel(page: *mut Page, page_size: PageSize) {
    // Failure leaves the page resident, and is seen by whoever watches the resident size.
    #[cfg(not(miri))]
    // SAFETY: the page lies in a mapping of ours, and the caller lets go of its content; the chunk's first header is no page's, so
    // that its `used` is free to remember that the chunk has holes.
    unsafe {
        use rustix::mm::{Advice, madvise};
        let chunk = ptr::with_exposed_provenance_mut::<Page>(page.addr() & !(CHUNK_BYTES - 1));
        if (*chunk).used == 0 {
            (*chunk).used = 1;
            let _ = madvise(chunk.cast(), CHUNK_BYTES, Advice::LinuxNoHugepage);
        }
        let _ = madvise(Page::memory(page, page_size).cast(), page_size.bytes(), Advice::LinuxDontNeed);
    }
    #[cfg(miri)]
    let _ = (page, page_size);
}

/// Gives the empty pages that are kept in reserve back to the kernel, of all arenas. The next walk of a compaction may look at all pages again.
pub fn return_reserve() {
    for arena in &ARENAS[..ARENAS_USED.load(Relaxed)] {
        let mut state = arena.state.lock();
        for page_size in [PageSize::Slots, PageSize::Blocks] {
            let pool = &mut state.pools[page_size as usize];
            // SAFETY: the arena is locked, and nothing in a page of the reserve is used.
            unsafe {
                while let Some(page) = pool.reserve.pop_front() {
                    pool.reserve_len -= 1;
                    subtract(&arena.reserve_bytes, page_size.bytes());
                    return_to_kernel(page, page_size);
                    pool.returned.push_front(page);
                }
            }
        }
    }
    STUCK_FREE_BYTES.store(0, Relaxed);
}

/// What the slab holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlabFigures {
    /// Live entries in pages, rounded up to their classes.
    pub entry_bytes: usize,
    /// Live entries too large for pages, in the global allocator.
    pub direct_bytes: usize,
    /// Segments of tables, in pages.
    pub table_bytes: usize,
    /// Pages in use; what exceeds `entry_bytes` and `table_bytes` is free in them.
    pub page_bytes: usize,
    /// Empty pages kept in reserve.
    pub reserve_bytes: usize,
}

/// Sums over the arenas, without locks: exact when nobody allocates meanwhile.
pub fn figures() -> SlabFigures {
    let mut sum = SlabFigures::default();
    for arena in &ARENAS {
        sum.entry_bytes = sum.entry_bytes.wrapping_add(arena.entry_bytes.load(Relaxed));
        sum.table_bytes = sum.table_bytes.wrapping_add(arena.table_bytes.load(Relaxed));
        sum.direct_bytes = sum.direct_bytes.wrapping_add(arena.direct_bytes.load(Relaxed));
        sum.page_bytes = sum.page_bytes.wrapping_add(arena.page_bytes.load(Relaxed));
        sum.reserve_bytes = sum.reserve_bytes.wrapping_add(arena.reserve_bytes.load(Relaxed));
    }
    sum
}

/// Bytes of live entries and blocks in pages, as [`figures`] has them: a cache line for each arena in use.
#[inline]
pub fn live_bytes() -> usize {
    ARENAS[..ARENAS_USED.load(Relaxed)].iter().fold(0usize, |sum, arena| {
        sum.wrapping_add(arena.entry_bytes.load(Relaxed)).wrapping_add(arena.table_bytes.load(Relaxed))
    })
}

impl SlabFigures {
    fn free_bytes(&self) -> usize {
        self.page_bytes.saturating_sub(self.entry_bytes + self.table_bytes)
    }

    fn compaction_step_bytes(&self) -> usize {
        (self.page_bytes / COMPACTION_STEP_DIVISOR).max(COMPACTION_GAIN_BYTES_MIN)
    }
}

/// The free room that compaction could do nothing about when last it tried, or less if there was less since.
static STUCK_FREE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What all walks up to the last one gave back.
static EVACUATED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// What compaction has done.
struct CompactionCounts {
    moved: AtomicU64,
    left: AtomicU64,
    keys_moved: AtomicU64,
    keys_left: AtomicU64,
}

static COMPACTION: CompactionCounts = CompactionCounts {
    moved: AtomicU64::new(0),
    left: AtomicU64::new(0),
    keys_moved: AtomicU64::new(0),
    keys_left: AtomicU64::new(0),
};

/// What compaction has done since the start, or since [`reset_compaction_figures`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionFigures {
    /// Allocations: moved to a denser page, and left where they were.
    pub moved: u64,
    pub left: u64,
    /// Keys of which anything was moved, and those of which nothing was.
    pub keys_moved: u64,
    pub keys_left: u64,
}

pub fn compaction_figures() -> CompactionFigures {
    CompactionFigures {
        moved: COMPACTION.moved.load(Relaxed),
        left: COMPACTION.left.load(Relaxed),
        keys_moved: COMPACTION.keys_moved.load(Relaxed),
        keys_left: COMPACTION.keys_left.load(Relaxed),
    }
}

/// For CONFIG RESETSTAT.
pub fn reset_compaction_figures() {
    for count in [&COMPACTION.moved, &COMPACTION.left, &COMPACTION.keys_moved, &COMPACTION.keys_left] {
        count.store(0, Relaxed);
    }
}

/// Allocations that compaction has moved: whoever looks before and after knows whether it has moved any of a key's.
pub(crate) fn moved() -> u64 {
    COMPACTION.moved.load(Relaxed)
}

/// A walk has been at so many keys, and has moved something of so many of them.
pub(crate) fn note_compacted_keys(visited: u64, moved: u64) {
    COMPACTION.keys_moved.fetch_add(moved, Relaxed);
    COMPACTION.keys_left.fetch_add(visited - moved, Relaxed);
}

/// Whether a walk of [`Keyspace::compact`](crate::Keyspace::compact) is likely to give back a worthwhile share: enough of the pages is free
/// room, and not just the room that the last walk found in pages too full to be moved. Cheap enough for every tick.
pub fn wants_compaction() -> bool {
    let figures = figures();
    let free = figures.free_bytes();
    let stuck = STUCK_FREE_BYTES.fetch_min(free, Relaxed).min(free);
    free > COMPACTION_GAIN_BYTES_MIN
        && free > figures.page_bytes / COMPACTION_FREE_DIVISOR
        && (stuck == 0 || free - stuck > figures.compaction_step_bytes())
}

/// A walk is complete. If it gave back little, what is free now is likely to stay so.
pub(crate) fn compaction_done() {
    let evacuated = ARENAS.iter().fold(0usize, |sum, arena| sum.wrapping_add(arena.evacuated_bytes.load(Relaxed)));
    let gained = evacuated.wrapping_sub(EVACUATED_BYTES.swap(evacuated, Relaxed));
    let figures = figures();
    let worth_another = gained >= figures.compaction_step_bytes();
    STUCK_FREE_BYTES.store(if worth_another { 0 } else { figures.free_bytes() }, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_fit_their_sizes() {
        for size in 1..=BLOCK_BYTES_MAX {
            let bytes = class_bytes(class_of(size));
            let step = if size <= FINE_BYTES_MAX {
                FINE_STEP
            } else if size <= SLOT_BYTES_MAX {
                COARSE_STEP
            } else {
                BLOCK_STEP
            };
            assert!(bytes >= size && bytes - size < step);
            assert_eq!(class_bytes(class_of(bytes)), bytes);
        }
        assert_eq!(class_of(BLOCK_BYTES_MAX) + 1, NODE_CLASS);
        assert_eq!(class_of(NODE_BYTES_MIN + 1), class_of(NODE_BYTES));
        assert_eq!(PageSize::of(NODE_CLASS).bytes() % NODE_BYTES, 0);
        for size in BLOCK_BYTES_MAX + 1..4 * NODE_BYTES {
            let run = rounded_run(size);
            assert!(run >= size && run <= size + size / 4 && rounded_run(run) == run);
        }
        assert!(PageSize::Blocks.bytes() / 8 < NO_SLOT as usize);
    }
}
