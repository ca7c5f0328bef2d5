//! The gate: one world, seen by many threads narrowly or by one thread widely.
//!
//! ```text
//!            gate 0   gate 1   gate 2   ...            each thread has its own gate, usually wanted by nobody else
//! narrow:      X                                        the thread's own gate: `&World`
//! wide:        X        X        X      ...             all gates, ascending: `&mut World`
//! lent:        (the gates stay closed)                  `&mut World`, while whoever has the wide access waits
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
//!   borrow nothing that would forbid it, so the event loop lets go first.
//! - *What if a wide access takes very long?* Then its holder [lends](Wide::lend) the world now and then: others, one at a
//!   time, get it whole for something short, as if the holder had done that itself. Who would rather not wait for such a
//!   holder asks with [`narrow_unless_lent`](Gates::narrow_unless_lent), [`wide_unless_lent`](Gates::wide_unless_lent) or
//!   [`alone`](Gates::alone). Locks cannot be waited for together with a flag, so these look at it from time to time.
//!
//! This crate knows neither keys nor commands nor sockets. Every interleaving of small cases is explored with loom
//! (`make model`).

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use smallvec::SmallVec;

mod sync;

use sync::{AtomicBool, Guard, Lock, Ordering, unlock_fair};

/// Who waits for a lock looks so often whether the world is lent meanwhile. No lock is ever missed by it: it is woken as soon as
/// the lock is free.
const PATIENCE: Duration = Duration::from_millis(10);

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
    /// Raised while whoever has the wide access lends the world from time to time. Changed by the holder of `lent`.
    lending: AtomicBool,
    /// Held by whoever has the world of those that it is lent to, and by the lender in between.
    lent: Lock,
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
            lending: AtomicBool::new(false),
            lent: Lock::new(),
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

    /// The same, but `None` while the world is lent.
    #[inline]
    pub fn narrow_unless_lent(&self, index: usize) -> Option<Narrow<'_, W>> {
        if !self.wanted.0.load(Ordering::Relaxed)
            && let Some(guard) = self.gates[index].0.try_lock()
        {
            return Some(Narrow { _guard: guard, world: self.world.get() });
        }
        self.narrow_after_waiting(index)
    }

    #[cold]
    fn narrow_after_waiting(&self, index: usize) -> Option<Narrow<'_, W>> {
        while !self.is_lent() {
            if self.wanted.0.load(Ordering::Relaxed) {
                match self.turnstile.0.try_lock_for(PATIENCE) {
                    Some(turn) => drop(turn),
                    None => continue,
                }
            }
            if let Some(guard) = self.gates[index].0.try_lock_for(PATIENCE) {
                return Some(Narrow { _guard: guard, world: self.world.get() });
            }
        }
        None
    }

    /// Waits until no other access exists, and keeps it so.
    pub fn wide(&self) -> Wide<'_, W> {
        self.close(self.turnstile.0.lock())
    }

    /// The same, but `None` while the world is lent.
    pub fn wide_unless_lent(&self) -> Option<Wide<'_, W>> {
        while !self.is_lent() {
            if let Some(turnstile) = self.turnstile.0.try_lock_for(PATIENCE) {
                return Some(self.close(turnstile));
            }
        }
        None
    }

    /// Nobody else has the world: a wide access, or what the holder of one lends.
    pub fn alone(&self) -> Alone<'_, W> {
        loop {
            if let Some(wide) = self.wide_unless_lent() {
                return Alone::Wide(wide);
            }
            if let Some(lent) = self.borrow() {
                return Alone::Lent(lent);
            }
        }
    }

    /// Whether the holder of the wide access lends the world from time to time. It may have changed when the caller hears it.
    #[inline]
    pub fn is_lent(&self) -> bool {
        self.lending.load(Ordering::Relaxed)
    }

    /// Takes the gates. Narrow accesses are short, and never lend.
    fn close<'a>(&'a self, turnstile: Guard<'a>) -> Wide<'a, W> {
        self.wanted.0.store(true, Ordering::Relaxed);
        let guards = self.gates[planted_missed_gates()..].iter().map(|gate| gate.0.lock()).collect();
        Wide { gates: self, lent: None, _guards: guards, _turnstile: turnstile }
    }

    /// Waits until the lender lets go for a moment. `None` if it does not lend any more.
    fn borrow(&self) -> Option<Lent<'_, W>> {
        let guard = self.lent.lock();
        self.is_lent().then(|| Lent { gates: self, _guard: guard })
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
    /// Once it has begun to lend, while nobody else has the world.
    lent: Option<Guard<'a>>,
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

impl<W> Wide<'_, W> {
    /// Lets others have the world while `meanwhile` runs, which must not touch it but may borrow it like everybody else. From
    /// the first call on, until [`stop_lending`](Wide::stop_lending), they wait for the next.
    pub fn lend(&mut self, meanwhile: impl FnOnce()) {
        let guard = self.lent.take().unwrap_or_else(|| {
            // Under the lock: who borrows the world has to see what was done with it.
            let guard = self.gates.lent.lock();
            self.gates.lending.store(true, Ordering::Relaxed);
            guard
        });
        // Whoever waits is next.
        unlock_fair(guard);
        meanwhile();
        self.lent = Some(self.gates.lent.lock());
    }

    /// Nobody gets the world any more before this access ends.
    pub fn stop_lending(&mut self) {
        if let Some(guard) = self.lent.take() {
            // Who gets the lock next sees it.
            self.gates.lending.store(false, Ordering::Relaxed);
            drop(guard);
        }
    }
}

impl<W> Drop for Wide<'_, W> {
    fn drop(&mut self) {
        self.stop_lending();
        self.gates.wanted.0.store(false, Ordering::Relaxed);
    }
}

/// The world of a wide access whose holder waits until this is dropped.
pub struct Lent<'a, W> {
    gates: &'a Gates<W>,
    _guard: Guard<'a>,
}

impl<W> Deref for Lent<'_, W> {
    type Target = W;
    fn deref(&self) -> &W {
        // SAFETY: the lender holds all gates, and neither uses the world nor keeps a reference into it while this lock is not
        // its own: `lend` has borrowed its access mutably.
        unsafe { &*self.gates.world.get() }
    }
}

impl<W> DerefMut for Lent<'_, W> {
    fn deref_mut(&mut self) -> &mut W {
        // SAFETY: as above; and the lock has one holder.
        unsafe { &mut *self.gates.world.get() }
    }
}

/// The world for one thread alone, either way.
pub enum Alone<'a, W> {
    Wide(Wide<'a, W>),
    Lent(Lent<'a, W>),
}

impl<W> Deref for Alone<'_, W> {
    type Target = W;
    fn deref(&self) -> &W {
        match self {
            Alone::Wide(world) => world,
            Alone::Lent(world) => world,
        }
    }
}

impl<W> DerefMut for Alone<'_, W> {
    fn deref_mut(&mut self) -> &mut W {
        match self {
            Alone::Wide(world) => world,
            Alone::Lent(world) => world,
        }
    }
}

/// How many gates, the first ones, a wide access does not take: none, unless the planted bug `missed-gate` is on.
#[inline]
fn planted_missed_gates() -> usize {
    #[cfg(feature = "planted")]
    {
        static IS_PLANTED: std::sync::LazyLock<bool> =
            std::sync::LazyLock::new(|| std::env::var_os("SPINEL_PLANT").is_some_and(|name| name == "missed-gate"));
        if *IS_PLANTED {
            return 1;
        }
    }
    0
}
