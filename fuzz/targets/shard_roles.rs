//! Fuzzes `cs_fuzz::shard::roles`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::shard::roles(bytes);
});
