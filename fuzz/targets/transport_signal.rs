//! Fuzzes `cs_fuzz::paths::signal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::paths::signal(bytes);
});
