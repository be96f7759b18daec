//! The configuration's TOML. What must hold is in `checks/configuration.rs`.
#![no_main]

#[path = "../checks/configuration.rs"]
mod configuration;

libfuzzer_sys::fuzz_target!(|input: &[u8]| configuration::check(input));
