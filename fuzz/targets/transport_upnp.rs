//! Fuzzes `cs_fuzz::transport::upnp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::transport::upnp(bytes);
});
