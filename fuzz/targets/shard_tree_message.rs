//! Fuzzes `cs_fuzz::shard::tree_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::shard::tree_message(bytes);
});
