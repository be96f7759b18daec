//! What is remembered of a kept image between two looks at it.

use layerkeeper_core::plan::{Finding, KeepVerdict};
use layerkeeper_core::{Digest, ImageName, Keep};
use layerkeeper_store::KeptState;

/// What is remembered of a kept image.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The durable part.
    pub state: KeptState,
    /// Why the last refresh failed.
    pub last_error: Option<String>,
    /// The registry's tag no longer shows the pinned digest.
    pub pin_unresolvable: bool,
    /// What it shows instead; none where it is gone.
    pub tag_shows: Option<Digest>,
}

impl Kept {
    /// Nothing yet.
    pub fn new(image: ImageName) -> Self {
        Self::from(KeptState::new(image))
    }
}

impl Kept {
    /// What is here is known not to be as expected.
    pub fn is_unmet(&self, keep: &Keep, verdict: &KeepVerdict) -> bool {
        let checked = verdict.here.and_then(|here| self.state.verdict(here, &keep.expect));
        checked.is_some_and(|checked| !checked.unmet.is_empty())
    }

    /// It is here and, as far as anybody knows, right.
    pub fn is_present(&self, keep: &Keep, verdict: &KeepVerdict) -> bool {
        verdict.finding == Finding::Present && !self.is_unmet(keep, verdict)
    }
}

impl From<KeptState> for Kept {
    fn from(state: KeptState) -> Self {
        Self { state, last_error: None, pin_unresolvable: false, tag_shows: None }
    }
}
