//! Fuzzes `cs_fuzz::turn::client`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::turn::client(bytes);
});
