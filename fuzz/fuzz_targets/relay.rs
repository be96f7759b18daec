//! What the relay reads of strangers. What must hold is in `checks/relay.rs`.
#![no_main]

#[path = "../checks/relay.rs"]
mod relay;

libfuzzer_sys::fuzz_target!(|input: &[u8]| relay::check(input));
