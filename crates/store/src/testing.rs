//! Values that many tests of this crate need.

use layerkeeper_core::job::{Intent, JobId, Trigger};
use layerkeeper_core::{Digest, ImageName, Timestamp};

use crate::jobs::NewJob;
use crate::store::{Options, Store};

pub(crate) const ENGINE: &str = "AAAA:BBBB/overlay2";

pub(crate) fn store() -> Store {
    Store::open_in_memory(Options::default()).unwrap()
}

pub(crate) fn id(n: u32) -> JobId {
    let mut bits = [0; 16];
    bits[12..].copy_from_slice(&n.to_be_bytes());
    JobId::from_bits(bits)
}

pub(crate) fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

pub(crate) fn deploy(n: u32, image: &str, digest: Option<&str>) -> NewJob {
    let digest = digest.map(|content| Digest::of(content.as_bytes()));
    new(n, Intent::Deploy { image: name(image), digest })
}

pub(crate) fn new(n: u32, intent: Intent) -> NewJob {
    NewJob { id: id(n), intent, trigger: Trigger::Schedule, not_before: None, now: Timestamp(i64::from(n)) }
}
