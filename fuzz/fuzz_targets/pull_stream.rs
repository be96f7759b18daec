//! The engine's progress stream, from its lines to the report. What must hold is in `checks/pull_stream.rs`.
#![no_main]

#[path = "../checks/pull_stream.rs"]
mod pull_stream;

libfuzzer_sys::fuzz_target!(|input: &[u8]| pull_stream::check(input));
