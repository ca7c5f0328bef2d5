//! A disk that fails when told to and logs what it was asked for: preloaded into a server (`LD_PRELOAD`), without privileges.
//!
//! Every change below one folder is done and then noted in a log, in one order. Synchronisations are only noted: from the log
//! the harness (`durability::disk`) works out what a machine that lost its power could have left on its disk, which is much less than a
//! killed process leaves. Faults are asked for in words of a mapped file, at any time.
//!
//! ```text
//! environment: FAULTY_DISK_ROOT (the folder), FAULTY_DISK_LOG, FAULTY_DISK_CONTROL
//! control, words of 64 bits: write, short write, sync, rename, create (each per million), full?, slowest sync (us), seed, faults so far
//! record: kind u8, inode u64, number u64, length u32, length u32, bytes, bytes
//! ```
//!
//! Whoever calls the kernel by itself is not seen: the server makes its system calls by way of the C library.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

use libc::{iovec, mode_t, off_t, size_t, ssize_t};

const CREATE: u8 = 1;
const WRITE: u8 = 2;
const LENGTH: u8 = 3;
const SYNC_BEGIN: u8 = 4;
const SYNC_END: u8 = 5;
const SYNC_FAILED: u8 = 6;
const SYNC_FOLDER: u8 = 7;
const RENAME: u8 = 8;
const REMOVE: u8 = 9;
const FOLDER: u8 = 10;

/// Words of the control file.
#[derive(Clone, Copy)]
enum Word {
    Write,
    ShortWrite,
    Sync,
    Rename,
    Create,
    Full,
    SyncDelay,
    Seed,
    Faults,
}

const WORDS: usize = 9;
const FILES_MAX: usize = 1 << 16;

struct Disk {
    root: Vec<u8>,
    log: c_int,
    control: &'static [AtomicU64; WORDS],
    /// Everything happens in one order: that of the log.
    order: Mutex<()>,
    draws: AtomicU64,
    syncs: AtomicU64,
}

/// The inode behind each descriptor that is looked at; 0 for all others.
static INODES: [AtomicU64; FILES_MAX] = [const { AtomicU64::new(0) }; FILES_MAX];
static IS_READY: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The set-up calls what is hooked here.
    static IS_SETTING_UP: Cell<bool> = const { Cell::new(false) };
}

fn disk() -> Option<&'static Disk> {
    static DISK: OnceLock<Option<Disk>> = OnceLock::new();
    if IS_SETTING_UP.get() {
        return None;
    }
    if !IS_READY.load(Relaxed) {
        IS_SETTING_UP.set(true);
        DISK.get_or_init(set_up);
        IS_SETTING_UP.set(false);
        IS_READY.store(true, Relaxed);
    }
    DISK.get()?.as_ref()
}

fn set_up() -> Option<Disk> {
    use std::os::unix::ffi::OsStringExt;
    let variable = |name| std::env::var_os(name).map(OsStringExt::into_vec);
    let path = |name| std::ffi::CString::new(variable(name)?).ok();
    let log_path = path("FAULTY_DISK_LOG")?;
    let control_path = path("FAULTY_DISK_CONTROL")?;
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
    // SAFETY: plain system calls with paths that end in 0.
    let (log, control) = unsafe {
        (
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, log_path.as_ptr(), flags, 0o644) as c_int,
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, control_path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC)
                as c_int,
        )
    };
    if log < 0 || control < 0 {
        return None;
    }
    // SAFETY: maps a file that the harness has made a page long; it stays mapped until the process ends.
    let page = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, control, 0)
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    Some(Disk {
        root: variable("FAULTY_DISK_ROOT")?,
        log,
        // SAFETY: a page is long enough and well aligned, and is changed by atomic operations only.
        control: unsafe { &*page.cast::<[AtomicU64; WORDS]>() },
        order: Mutex::new(()),
        draws: AtomicU64::new(0),
        syncs: AtomicU64::new(1),
    })
}

impl Disk {
    fn word(&self, word: Word) -> u64 {
        self.control[word as usize].load(Relaxed)
    }

    /// A random number of this run (the finaliser of SplitMix64 over a counter).
    fn draw(&self) -> u64 {
        let count = self.draws.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.word(Word::Seed).wrapping_add(count);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fails(&self, word: Word) -> bool {
        let per_million = self.word(word);
        let fails = per_million > 0 && self.draw() % 1_000_000 < per_million;
        if fails {
            self.control[Word::Faults as usize].fetch_add(1, Relaxed);
        }
        fails
    }

    fn note(&self, kind: u8, inode: u64, number: u64, first: &[&[u8]], second: &[u8]) {
        let first_length: usize = first.iter().map(|bytes| bytes.len()).sum();
        let mut record = Vec::with_capacity(25 + first_length + second.len());
        record.push(kind);
        record.extend_from_slice(&inode.to_le_bytes());
        record.extend_from_slice(&number.to_le_bytes());
        record.extend_from_slice(&(first_length as u32).to_le_bytes());
        record.extend_from_slice(&(second.len() as u32).to_le_bytes());
        first.iter().for_each(|bytes| record.extend_from_slice(bytes));
        record.extend_from_slice(second);
        // SAFETY: writes a buffer that lives.
        let written = unsafe { libc::syscall(libc::SYS_write, self.log, record.as_ptr(), record.len()) };
        if written != record.len() as i64 {
            // Without its log nothing that follows means anything.
            std::process::abort();
        }
    }

    /// A path below the root, relative to it; the root itself is empty.
    fn below(&self, path: *const c_char) -> Option<Vec<u8>> {
        if path.is_null() {
            return None;
        }
        // SAFETY: callers of the C library pass strings that end in 0.
        let path = unsafe { CStr::from_ptr(path) }.to_bytes();
        let mut full = Vec::new();
        if !path.starts_with(b"/") {
            let mut buffer = [0_u8; 4096];
            // SAFETY: the buffer is as long as said.
            let length = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
            full.extend_from_slice(buffer.get(..usize::try_from(length).ok()?.checked_sub(1)?)?);
            full.push(b'/');
        }
        full.extend_from_slice(path);
        let parts: Vec<&[u8]> =
            full.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        let normal = [b"/".as_slice(), &parts.join(&b'/')].concat();
        let rest = normal.strip_prefix(self.root.as_slice())?;
        (rest.is_empty() || rest.starts_with(b"/")).then(|| rest.strip_prefix(b"/").unwrap_or(rest).to_vec())
    }
}

fn fail(code: c_int) -> c_int {
    // SAFETY: errno is this thread's.
    unsafe { *libc::__errno_location() = code };
    -1
}

fn stat_of(file: c_int) -> Option<libc::stat> {
    // SAFETY: all zeros is a value of `stat`.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: fills what it is given.
    let done = unsafe { libc::syscall(libc::SYS_fstat, file, &raw mut stat) };
    (done == 0).then_some(stat)
}

fn inode_of(file: c_int) -> Option<(&'static Disk, u64)> {
    let inode = INODES.get(usize::try_from(file).ok()?)?.load(Relaxed);
    if inode == 0 { None } else { Some((disk()?, inode)) }
}

fn opened(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's arguments, unchanged.
    let open = || unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) as c_int };
    let Some(disk) = disk() else { return open() };
    let Some(name) = disk.below(path) else { return open() };
    let _order = disk.order.lock();
    let is_to_be_written = flags & libc::O_ACCMODE != libc::O_RDONLY;
    // SAFETY: the caller's path.
    let is_there = unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path, libc::F_OK) } == 0;
    if is_to_be_written && flags & libc::O_CREAT != 0 && !is_there {
        if disk.word(Word::Full) != 0 {
            return fail(libc::ENOSPC);
        }
        if disk.fails(Word::Create) {
            return fail(libc::EIO);
        }
    }
    let file = open();
    if file < 0 {
        return file;
    }
    let Some(stat) = stat_of(file) else { return file };
    let is_folder = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    if !(is_to_be_written || is_folder) {
        return file;
    }
    if let Some(place) = INODES.get(file as usize) {
        place.store(stat.st_ino, Relaxed);
    }
    if is_to_be_written && !is_there {
        disk.note(CREATE, stat.st_ino, 0, &[&name], &[]);
    } else if is_to_be_written && flags & libc::O_TRUNC != 0 {
        disk.note(LENGTH, stat.st_ino, 0, &[], &[]);
    }
    file
}

/// Writes at a position, or at the file's own.
fn written(file: c_int, slices: &[&[u8]], position: Option<u64>) -> Option<ssize_t> {
    let (disk, inode) = inode_of(file)?;
    let _order = disk.order.lock();
    let stat = stat_of(file)?;
    // SAFETY: plain system calls on an open file.
    let (flags, own) = unsafe {
        (
            libc::syscall(libc::SYS_fcntl, file, libc::F_GETFL) as c_int,
            libc::syscall(libc::SYS_lseek, file, 0, libc::SEEK_CUR) as u64,
        )
    };
    let appends = position.is_none() && flags & libc::O_APPEND != 0;
    let at = if appends { stat.st_size as u64 } else { position.unwrap_or(own) };
    let mut bytes = slices.concat();
    if disk.word(Word::Full) != 0 && at + bytes.len() as u64 > stat.st_size as u64 {
        // A disk is seldom full exactly between two writes.
        let room = (disk.draw() % 64) as usize;
        if disk.draw() % 4 != 0 || room >= bytes.len() {
            return Some(fail(libc::ENOSPC) as ssize_t);
        }
        bytes.truncate(room.max(1));
    } else if disk.fails(Word::Write) {
        return Some(fail(if disk.draw() % 2 == 0 { libc::EIO } else { libc::ENOSPC }) as ssize_t);
    } else if bytes.len() > 1 && disk.fails(Word::ShortWrite) {
        let length = 1 + disk.draw() as usize % (bytes.len() - 1);
        bytes.truncate(length);
    }
    // SAFETY: the buffer lives.
    let count = unsafe {
        match position {
            Some(at) => libc::syscall(libc::SYS_pwrite64, file, bytes.as_ptr(), bytes.len(), at),
            None => libc::syscall(libc::SYS_write, file, bytes.as_ptr(), bytes.len()),
        }
    };
    if count > 0 {
        disk.note(WRITE, inode, at, &[&bytes[..count as usize]], &[]);
    }
    Some(count as ssize_t)
}

fn synced(file: c_int) -> Option<c_int> {
    let (disk, inode) = inode_of(file)?;
    let is_folder = stat_of(file)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let number = disk.syncs.fetch_add(1, Relaxed);
    if !is_folder {
        let _order = disk.order.lock();
        disk.note(SYNC_BEGIN, inode, number, &[], &[]);
    }
    let slowest_us = disk.word(Word::SyncDelay);
    if slowest_us > 0 {
        // What is written meanwhile is not covered.
        std::thread::sleep(std::time::Duration::from_micros(disk.draw() % slowest_us));
    }
    let _order = disk.order.lock();
    if disk.fails(Word::Sync) {
        if !is_folder {
            disk.note(SYNC_FAILED, inode, number, &[], &[]);
        }
        return Some(fail(libc::EIO));
    }
    if is_folder {
        let link = format!("/proc/self/fd/{file}\0");
        let mut target = [0_u8; 4096];
        // SAFETY: the path ends in 0, the buffer is as long as said, and begins as zeros.
        unsafe { libc::syscall(libc::SYS_readlinkat, libc::AT_FDCWD, link.as_ptr(), target.as_mut_ptr(), 4095) };
        if let Some(name) = disk.below(target.as_ptr().cast()) {
            disk.note(SYNC_FOLDER, inode, 0, &[&name], &[]);
        }
    } else {
        disk.note(SYNC_END, inode, number, &[], &[]);
    }
    Some(0)
}

/// Renames, removes or makes.
fn named(kind: u8, first: *const c_char, second: *const c_char, call: impl Fn() -> c_int) -> c_int {
    let Some(disk) = disk() else { return call() };
    let Some(name) = disk.below(first) else { return call() };
    let _order = disk.order.lock();
    if disk.fails(Word::Rename) {
        return fail(libc::EIO);
    }
    let done = call();
    if done == 0 {
        let second = disk.below(second).unwrap_or_default();
        disk.note(kind, 0, 0, &[&name], &second);
    }
    done
}

fn truncated(file: c_int, length: off_t) -> c_int {
    // SAFETY: the caller's arguments, unchanged.
    let truncate = || unsafe { libc::syscall(libc::SYS_ftruncate, file, length) as c_int };
    let Some((disk, inode)) = inode_of(file) else { return truncate() };
    let _order = disk.order.lock();
    if disk.fails(Word::Write) {
        return fail(libc::EIO);
    }
    let done = truncate();
    if done == 0 {
        disk.note(LENGTH, inode, length as u64, &[], &[]);
    }
    done
}

/// # Safety
/// As the C library asks of `writev`.
unsafe fn slices_of<'a>(slices: *const iovec, count: c_int) -> Vec<&'a [u8]> {
    // SAFETY: the caller vouches for the slices.
    unsafe {
        std::slice::from_raw_parts(slices, count as usize)
            .iter()
            .filter(|slice| slice.iov_len > 0)
            .map(|slice| std::slice::from_raw_parts(slice.iov_base.cast::<u8>(), slice.iov_len))
            .collect()
    }
}

// What follows stands in for functions of the C library, and asks of its callers what they ask.

macro_rules! stand_in {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty $body:block)*) => {
        $(
            /// # Safety
            /// As the function of the C library of this name.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $result $body
        )*
    };
}

stand_in! {
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int { opened(path, flags, mode) }
    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int { opened(path, flags, mode) }
    fn close(file: c_int) -> c_int {
        if let Some(place) = usize::try_from(file).ok().and_then(|file| INODES.get(file)) {
            place.store(0, Relaxed);
        }
        // SAFETY: the caller's argument, unchanged.
        unsafe { libc::syscall(libc::SYS_close, file) as c_int }
    }
    fn write(file: c_int, bytes: *const c_void, length: size_t) -> ssize_t {
        // SAFETY: the caller vouches for the bytes.
        let slice = unsafe { slices_of(&iovec { iov_base: bytes.cast_mut(), iov_len: length }, 1) };
        // SAFETY: the caller's arguments, unchanged.
        written(file, &slice, None).unwrap_or_else(|| unsafe { libc::syscall(libc::SYS_write, file, bytes, length) as ssize_t })
    }
    fn writev(file: c_int, slices: *const iovec, count: c_int) -> ssize_t {
        // SAFETY: the caller vouches for the slices.
        written(file, &unsafe { slices_of(slices, count) }, None)
            // SAFETY: the caller's arguments, unchanged.
            .unwrap_or_else(|| unsafe { libc::syscall(libc::SYS_writev, file, slices, count) as ssize_t })
    }
    fn pwrite64(file: c_int, bytes: *const c_void, length: size_t, at: off_t) -> ssize_t {
        // SAFETY: the caller vouches for the bytes.
        let slice = unsafe { slices_of(&iovec { iov_base: bytes.cast_mut(), iov_len: length }, 1) };
        written(file, &slice, Some(at as u64))
            // SAFETY: the caller's arguments, unchanged.
            .unwrap_or_else(|| unsafe { libc::syscall(libc::SYS_pwrite64, file, bytes, length, at) as ssize_t })
    }
    fn pwritev64(file: c_int, slices: *const iovec, count: c_int, at: off_t) -> ssize_t {
        // SAFETY: the caller vouches for the slices.
        written(file, &unsafe { slices_of(slices, count) }, Some(at as u64))
            // SAFETY: the caller's arguments, unchanged; the kernel takes the position in two halves.
            .unwrap_or_else(|| unsafe { libc::syscall(libc::SYS_pwritev, file, slices, count, at, 0) as ssize_t })
    }
    fn pwritev(file: c_int, slices: *const iovec, count: c_int, at: off_t) -> ssize_t {
        // SAFETY: as for its namesake.
        unsafe { pwritev64(file, slices, count, at) }
    }
    fn pwrite(file: c_int, bytes: *const c_void, length: size_t, at: off_t) -> ssize_t {
        // SAFETY: as for its namesake.
        unsafe { pwrite64(file, bytes, length, at) }
    }
    fn ftruncate(file: c_int, length: off_t) -> c_int { truncated(file, length) }
    fn ftruncate64(file: c_int, length: off_t) -> c_int { truncated(file, length) }
    fn fsync(file: c_int) -> c_int {
        // SAFETY: the caller's argument, unchanged.
        synced(file).unwrap_or_else(|| unsafe { libc::syscall(libc::SYS_fsync, file) as c_int })
    }
    fn fdatasync(file: c_int) -> c_int {
        // SAFETY: the caller's argument, unchanged.
        synced(file).unwrap_or_else(|| unsafe { libc::syscall(libc::SYS_fdatasync, file) as c_int })
    }
    fn rename(from: *const c_char, to: *const c_char) -> c_int {
        // SAFETY: the caller's arguments, unchanged.
        named(RENAME, from, to, || unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) as c_int })
    }
    fn unlink(path: *const c_char) -> c_int {
        // SAFETY: the caller's argument, unchanged.
        named(REMOVE, path, std::ptr::null(), || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) as c_int })
    }
    fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
        // SAFETY: the caller's arguments, unchanged.
        named(FOLDER, path, std::ptr::null(), || unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) as c_int })
    }
}
