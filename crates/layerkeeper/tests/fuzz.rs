//! What fuzzing kept still holds (`cargo xtask fuzz`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../../fuzz/checks/configuration.rs"]
mod configuration;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn every_kept_configuration_holds() {
    replay::every_kept_input_of("configuration", configuration::check);
}
