//! Fuzz target: see `media_secure::fuzz::handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| media_secure::fuzz::handshake(data));
