//! Fuzz target: see `sip::fuzz::prepass`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sip::fuzz::prepass(data));
