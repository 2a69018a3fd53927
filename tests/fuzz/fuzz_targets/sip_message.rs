//! Fuzz target: see `sip::fuzz::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sip::fuzz::message(data));
