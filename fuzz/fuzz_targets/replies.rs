#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spinel_resp::fuzz::replies(data));
