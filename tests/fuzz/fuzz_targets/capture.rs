//! Fuzz target: see `bridge_gb28181::fuzz::capture`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge_gb28181::fuzz::capture(data));
