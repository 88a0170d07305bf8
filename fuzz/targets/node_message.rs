//! Fuzzes `cs_fuzz::node::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::node::message(bytes);
});
