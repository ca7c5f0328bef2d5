//! The thin layer under the gate: parking_lot's locks in the server, loom's when every interleaving is explored.

#[cfg(not(feature = "loom"))]
mod imp {
    pub use std::sync::atomic::{AtomicBool, Ordering};

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
    }
}

#[cfg(feature = "loom")]
mod imp {
    pub use loom::sync::atomic::{AtomicBool, Ordering};

    pub type Guard<'a> = loom::sync::MutexGuard<'a, ()>;

    pub struct Lock(loom::sync::Mutex<()>);

    impl Lock {
        pub fn new() -> Lock {
            Lock(loom::sync::Mutex::new(()))
        }

        pub fn lock(&self) -> Guard<'_> {
            self.0.lock().expect("loom's locks are not poisoned: a panic ends the exploration")
        }
    }
}

pub use imp::*;
