#![no_main]

use std::cell::RefCell;

use scripting::fuzz::Target;

thread_local! {
    static TARGET: RefCell<Target> = RefCell::default();
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.with_borrow_mut(|target| target.library(data)));
