//! Fuzzes `cs_fuzz::crypto::secret_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::crypto::secret_file(bytes);
});
