//! What fuzzing kept still holds (`cargo xtask fuzz`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../../../fuzz/checks/pull_stream.rs"]
mod pull_stream;
#[path = "../../../fuzz/checks/replay.rs"]
mod replay;

#[test]
fn every_kept_pull_stream_holds() {
    replay::every_kept_input_of("pull_stream", pull_stream::check);
}
