//! What is remembered of a kept image between two looks at it.

use layerkeeper_core::{Digest, ImageName};
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
        Self::from(KeptState {
            image,
            last_refresh: None,
            last_ok: None,
            digest: None,
            finding: String::new(),
            last_scheduled: None,
            next_due: None,
            checked: None,
        })
    }
}

impl From<KeptState> for Kept {
    fn from(state: KeptState) -> Self {
        Self { state, last_error: None, pin_unresolvable: false, tag_shows: None }
    }
}
