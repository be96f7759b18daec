//! What fuzzing kept still holds (`cargo xtask fuzz`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../../fuzz/checks/replay.rs"]
mod replay;
#[path = "../../../fuzz/checks/webhook.rs"]
mod webhook;

#[test]
fn every_kept_webhook_holds() {
    replay::every_kept_input_of("webhook", webhook::check);
}
