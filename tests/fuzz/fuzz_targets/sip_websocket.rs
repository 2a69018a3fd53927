//! Fuzz target: see `sip::fuzz::websocket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sip::fuzz::websocket(data));
