//! Fuzzes `cs_fuzz::gossip::reconcile_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cs_fuzz::gossip::reconcile_message(bytes);
});
