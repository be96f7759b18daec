//! What may be asked of a report.

use layerkeeper_core::Bytes;
use layerkeeper_store::record::PullRecord;
use layerkeeper_testkit::{Engine, EngineKind, Pushed};

/// The report accounts for every layer, and is sure of it. The containerd store looks at its downloads ten times a
/// second, so its stream may leave out a small layer altogether; then, and only then, the report may be `inferred`.
pub fn assert_sums(engine: &Engine, pull: &PullRecord, image: &Pushed) {
    assert_eq!(Bytes(pull.reused_bytes + pull.downloaded_bytes), image.layer_bytes(), "{pull:?}");
    let missed = |doubt: &String| doubt.contains("stream did not mention it; it was not here, so it moved");
    if engine.kind() == EngineKind::C && !pull.doubts.is_empty() && pull.doubts.iter().all(missed) {
        assert_eq!(pull.certainty, "inferred");
    } else {
        assert_eq!(pull.certainty, "exact", "{:?}", pull.doubts);
    }
}
