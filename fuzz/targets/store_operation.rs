//! Fuzzes `cs_fuzz::store::operation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::store::operation(bytes);
});
