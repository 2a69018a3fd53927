//! Fuzz target: see `bridge_phone::fuzz::text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge_phone::fuzz::text(data));
