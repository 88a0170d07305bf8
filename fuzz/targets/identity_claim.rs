//! Fuzzes `cs_fuzz::identity::claim`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::identity::claim(bytes);
});
