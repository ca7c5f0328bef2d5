#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rdb::fuzz::restore_payload(data));
