//! Fuzzes `cs_fuzz::gossip::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::gossip::message(bytes);
});
