//! Fuzz target: see `bridge_satphone::fuzz::satphone`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge_satphone::fuzz::satphone(data));
