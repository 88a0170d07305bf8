//! Fuzzes `cs_fuzz::crdt::history`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::crdt::history(bytes);
});
