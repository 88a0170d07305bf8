//! Fuzzes `cs_fuzz::node::ticket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::node::ticket(bytes);
});
