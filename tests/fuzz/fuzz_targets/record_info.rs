//! Fuzz target: see `bridge_gb28181::fuzz::record_info`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge_gb28181::fuzz::record_info(data));
