//! Fuzzes `cs_fuzz::identity::text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::identity::text(bytes);
});
