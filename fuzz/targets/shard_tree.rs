//! Fuzzes `cs_fuzz::shard::tree`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::shard::tree(bytes);
});
