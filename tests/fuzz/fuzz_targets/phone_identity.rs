//! Fuzz target: see `bridge_phone::fuzz::identity`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge_phone::fuzz::identity(data));
