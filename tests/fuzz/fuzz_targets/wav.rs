//! Fuzz target: see `media_core::fuzz::wav`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| media_core::fuzz::wav(data));
