//! Fuzz target: see `bridge_radio::fuzz::radio`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge_radio::fuzz::radio(data));
