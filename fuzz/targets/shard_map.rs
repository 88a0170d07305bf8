//! Fuzzes `cs_fuzz::shard::map`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::shard::map(bytes);
});
