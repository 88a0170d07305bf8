//! Fuzzes `cs_fuzz::turn::server`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::turn::server(bytes);
});
