//! Fuzz target: see `sip::fuzz::stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sip::fuzz::stream(data));
