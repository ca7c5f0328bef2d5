//! The gate: one world, seen by many threads narrowly or by one thread widely.
//!
//! ```text
//!            gate 0   gate 1   gate 2   ...            each thread has its own gate, usually wanted by nobody else
//! narrow:      X                                        the thread's own gate: `&World`
//! wide:        X        X        X      ...             all gates, ascending: `&mut World`
//! ```
//!
//! It is a big-reader lock. Narrow access costs one uncontended lock on a line that stays in the thread's cache; wide
//! access costs one lock a thread. Whoever holds a narrow access reads what only wide accesses change (role, slots, ACL,
//! pause, configuration), so nothing it relied on can change before it lets go.
//!
//! Objections, answered:
//! - *Can a wide access starve behind threads that come back at once?* No: it first raises `wanted`, and a narrow access
//!   that sees the flag queues behind it at the turnstile.
//! - *Can two wide accesses deadlock?* No: the turnstile admits one at a time, and gates are taken in ascending order.
//! - *What if a thread asks for the wide access while it holds its narrow one?* It would wait for itself. The guards
//!   borrow nothing that would forbid it, so the event loop lets go first; debug builds assert it.
//!
//! This crate knows neither keys nor commands nor sockets. Every interleaving of small cases is explored with loom
//! (`make model`).

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use smallvec::SmallVec;

mod sync;

use sync::{AtomicBool, Guard, Lock, Ordering};

/// Keeps neighbours in an array on different cache lines (two lines: the adjacent-line prefetcher pairs them).
#[repr(align(128))]
struct Padded<T>(T);

/// A world behind as many gates as there are threads that touch it.
pub struct Gates<W> {
    /// Raised while a wide access waits or runs.
    wanted: Padded<AtomicBool>,
    /// Admits one wide access at a time, and holds back newcomers while one waits.
    turnstile: Padded<Lock>,
    gates: Box<[Padded<Lock>]>,
    world: UnsafeCell<W>,
}

// SAFETY: narrow accesses on several threads share `&W` (hence `W: Sync`); a wide access hands out `&mut W` to whichever
// thread holds all gates (hence `W: Send`), and while it does no other access exists.
unsafe impl<W: Send + Sync> Sync for Gates<W> {}
// SAFETY: moving the gates moves the world.
unsafe impl<W: Send> Send for Gates<W> {}

impl<W> Gates<W> {
    /// A world with `count` gates, numbered from 0.
    ///
    /// # Panics
    /// When `count` is 0.
    pub fn new(count: usize, world: W) -> Gates<W> {
        assert!(count > 0, "a world needs at least one gate");
        Gates {
            wanted: Padded(AtomicBool::new(false)),
            turnstile: Padded(Lock::new()),
            gates: (0..count).map(|_| Padded(Lock::new())).collect(),
            world: UnsafeCell::new(world),
        }
    }

    /// How many gates there are.
    pub fn count(&self) -> usize {
        self.gates.len()
    }

    /// Passes the thread's own gate. Bounded work only: a wide access waits for it.
    #[inline]
    pub fn narrow(&self, index: usize) -> Narrow<'_, W> {
        if self.wanted.0.load(Ordering::Relaxed) {
            // Somebody wants to be alone. Queue behind them, or they would wait for as long as this thread has work.
            drop(self.turnstile.0.lock());
        }
        let guard = self.gates[index].0.lock();
        Narrow { _guard: guard, world: self.world.get() }
    }

    /// Waits until no other access exists, and keeps it so.
    pub fn wide(&self) -> Wide<'_, W> {
        let turnstile = self.turnstile.0.lock();
        self.wanted.0.store(true, Ordering::Relaxed);
        let guards = self.gates[planted_missed_gates()..].iter().map(|gate| gate.0.lock()).collect();
        Wide { gates: self, _guards: guards, _turnstile: turnstile }
    }
}

/// Read access to the world for one thread among many.
pub struct Narrow<'a, W> {
    _guard: Guard<'a>,
    world: *const W,
}

impl<W> Narrow<'_, W> {
    /// The world.
    #[inline]
    pub fn world(&self) -> &W {
        // SAFETY: `&mut W` is only handed out to the holder of all gates, and this value holds one of them.
        unsafe { &*self.world }
    }
}

impl<W> Deref for Narrow<'_, W> {
    type Target = W;
    #[inline]
    fn deref(&self) -> &W {
        self.world()
    }
}

/// The world for one thread alone.
pub struct Wide<'a, W> {
    gates: &'a Gates<W>,
    // Fields drop in order: the gates open before the turnstile does.
    _guards: SmallVec<[Guard<'a>; 16]>,
    _turnstile: Guard<'a>,
}

impl<W> Deref for Wide<'_, W> {
    type Target = W;
    fn deref(&self) -> &W {
        // SAFETY: all gates are held, so no other reference exists.
        unsafe { &*self.gates.world.get() }
    }
}

impl<W> DerefMut for Wide<'_, W> {
    fn deref_mut(&mut self) -> &mut W {
        // SAFETY: all gates are held, so no other reference exists.
        unsafe { &mut *self.gates.world.get() }
    }
}

impl<W> Drop for Wide<'_, W> {
    fn drop(&mut self) {
        self.gates.wanted.0.store(false, Ordering::Relaxed);
    }
}

/// How many gates, the first ones, a wide access does not take: none, unless the planted bug `missed-gate` is on.
#[inline]
fn planted_missed_gates() -> usize {
    #[cfg(feature = "planted")]
    if std::env::var_os("SPINEL_PLANT").is_some_and(|name| name == "missed-gate") {
        return 1;
    }
    0
}
