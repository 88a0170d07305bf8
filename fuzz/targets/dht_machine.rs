//! Fuzzes `cs_fuzz::dht::machine`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::dht::machine(bytes);
});
