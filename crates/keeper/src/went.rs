//! How a name went, as the trail tells it: by a removal of our own, or by the call that the engine told of.

use std::time::Duration;

use layerkeeper_core::Timestamp;
use layerkeeper_store::{ChangeRow, Event, EventFilter, StoreError};

use crate::context::Context;

/// The trail's word for a removal of ours.
pub(crate) const PRUNED: &str = "pruned";
/// And for what others took away.
pub(crate) const LOST: &str = "lost";

/// How a name went is told at most so long before the look that missed it, and so long after it.
const BEFORE: Duration = Duration::from_secs(120);
const AFTER: Duration = Duration::from_secs(30);

/// How a name went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Went {
    /// In words.
    pub how: String,
    /// We removed it.
    pub ours: bool,
}

/// A change of what a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// As it was taken down.
    pub row: ChangeRow,
    /// Where the name went: why or by which call, as far as the trail tells.
    pub how: Option<String>,
}

/// What the trail says of a name that was seen to be gone at that time.
///
/// # Errors
/// The store.
pub(crate) async fn went(ctx: &Context, name: &str, seen: Timestamp) -> Result<Option<Went>, StoreError> {
    let between = Some((seen.minus(BEFORE), seen.plus(AFTER)));
    let filter = EventFilter { subject: Some(name.to_owned()), between, ..EventFilter::default() };
    let events = ctx.store.events(filter).await?.into_iter().map(|row| row.event);
    let told = events.filter(|event| matches!(event.kind.as_str(), PRUNED | LOST));
    Ok(told.min_by_key(|event| (event.at.0 - seen.0).abs()).map(Went::from))
}

/// With how each name went that is gone since.
///
/// # Errors
/// The store.
pub(crate) async fn changed(ctx: &Context, rows: Vec<ChangeRow>) -> Result<Vec<Changed>, StoreError> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let went = if row.change.to.is_none() { went(ctx, &row.change.name, row.at).await? } else { None };
        all.push(Changed { row, how: went.map(|went| went.how) });
    }
    Ok(all)
}

impl From<Event> for Went {
    fn from(event: Event) -> Self {
        let ours = event.kind == PRUNED;
        let how = if ours { format!("layerkeeper removed it ({})", event.message) } else { event.message };
        Self { how, ours }
    }
}
