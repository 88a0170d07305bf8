//! Fuzzes `cs_fuzz::node::file_version`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::node::file_version(bytes);
});
