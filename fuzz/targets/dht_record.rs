//! Fuzzes `cs_fuzz::dht::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::dht::record(bytes);
});
