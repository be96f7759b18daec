//! What fuzzing kept still holds (`cargo xtask fuzz`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../../fuzz/checks/image_reference.rs"]
mod image_reference;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn every_kept_image_reference_holds() {
    replay::every_kept_input_of("image_reference", image_reference::check);
}
