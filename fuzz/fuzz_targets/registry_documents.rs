//! What a registry sends: index, manifest, config. What must hold is in `checks/registry_documents.rs`.
#![no_main]

#[path = "../checks/registry_documents.rs"]
mod registry_documents;

libfuzzer_sys::fuzz_target!(|input: &[u8]| registry_documents::check(input));
