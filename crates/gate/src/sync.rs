//! The thin layer under the gate: parking_lot's locks in the server, loom's when every interleaving is explored.

#[cfg(not(feature = "loom"))]
mod imp {
    pub use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    pub type Guard<'a> = parking_lot::MutexGuard<'a, ()>;

    pub struct Lock(parking_lot::Mutex<()>);

    impl Lock {
        pub fn new() -> Lock {
            Lock(parking_lot::Mutex::new(()))
        }

        #[inline]
        pub fn lock(&self) -> Guard<'_> {
            self.0.lock()
        }

        #[inline]
        pub fn try_lock(&self) -> Option<Guard<'_>> {
            self.0.try_lock()
        }

        pub fn try_lock_for(&self, timeout: Duration) -> Option<Guard<'_>> {
            self.0.try_lock_for(timeout)
        }
    }

    /// Lets go of a lock in favour of whoever has waited longest.
    pub fn unlock_fair(guard: Guard<'_>) {
        parking_lot::MutexGuard::unlock_fair(guard);
    }
}

#[cfg(feature = "loom")]
mod imp {
    pub use loom::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    pub type Guard<'a> = loom::sync::MutexGuard<'a, ()>;

    pub struct Lock(loom::sync::Mutex<()>);

    impl Lock {
        pub fn new() -> Lock {
            Lock(loom::sync::Mutex::new(()))
        }

        pub fn lock(&self) -> Guard<'_> {
            self.0.lock().expect("loom's locks are not poisoned: a panic ends the exploration")
        }

        pub fn try_lock(&self) -> Option<Guard<'_>> {
            self.0.try_lock().ok()
        }

        /// Loom knows no time: one that is over at once stands for all, and others run before the next attempt.
        pub fn try_lock_for(&self, _timeout: Duration) -> Option<Guard<'_>> {
            let guard = self.try_lock();
            if guard.is_none() {
                loom::thread::yield_now();
            }
            guard
        }
    }

    /// Loom gives the lock to everybody in turns.
    pub fn unlock_fair(guard: Guard<'_>) {
        drop(guard);
    }
}

pub use imp::*;
