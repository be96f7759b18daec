//! A webhook's request: headers, signature, body. What must hold is in `checks/webhook.rs`.
#![no_main]

#[path = "../checks/webhook.rs"]
mod webhook;

libfuzzer_sys::fuzz_target!(|input: &[u8]| webhook::check(input));
