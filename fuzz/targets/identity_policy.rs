//! Fuzzes `cs_fuzz::identity::policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::identity::policy(bytes);
});
