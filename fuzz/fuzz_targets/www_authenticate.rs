//! A registry's challenge. What must hold is in `checks/www_authenticate.rs`.
#![no_main]

#[path = "../checks/www_authenticate.rs"]
mod www_authenticate;

libfuzzer_sys::fuzz_target!(|input: &[u8]| www_authenticate::check(input));
