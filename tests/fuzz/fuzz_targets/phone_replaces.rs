//! Fuzz target: see `bridge_phone::fuzz::replaces`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge_phone::fuzz::replaces(data));
