//! Fuzzes `cs_fuzz::conversation::conversation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::conversation::conversation(bytes);
});
