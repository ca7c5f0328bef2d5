#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rdb::fuzz::functions_payload(data));
