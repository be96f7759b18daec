//! What fuzzing kept still holds (`cargo xtask fuzz`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../../fuzz/checks/relay.rs"]
mod relay;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn every_kept_relay_holds() {
    replay::every_kept_input_of("relay", relay::check);
}
