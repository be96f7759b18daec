//! Image references. What must hold is in `checks/image_reference.rs`.
#![no_main]

#[path = "../checks/image_reference.rs"]
mod image_reference;

libfuzzer_sys::fuzz_target!(|input: &[u8]| image_reference::check(input));
