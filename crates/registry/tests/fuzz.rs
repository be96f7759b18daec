//! What fuzzing kept still holds (`cargo xtask fuzz`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../../fuzz/checks/registry_documents.rs"]
mod registry_documents;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;
#[path = "../../../fuzz/checks/www_authenticate.rs"]
mod www_authenticate;

#[test]
fn every_kept_www_authenticate_holds() {
    replay::every_kept_input_of("www_authenticate", www_authenticate::check);
}

#[test]
fn every_kept_registry_documents_holds() {
    replay::every_kept_input_of("registry_documents", registry_documents::check);
}
