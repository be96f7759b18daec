//! Which quarter of a kept image is wanted, found out as the daemon does, and which ones are here.

use std::collections::BTreeSet;

use layerkeeper_core::versions::candidates;
use layerkeeper_core::{ImageName, Inventory, Keep, Quarter, Template, Timestamp};
use layerkeeper_keeper::KeepSeries;
use layerkeeper_registry::{Client, Error};

use crate::doctor::kept::Shown;

/// What was seen of a series.
pub(super) struct QuartersSeen {
    /// The one that is wanted; where that is not known, the newest here, or today's.
    pub keep: Keep,
    /// Why it is not known, if so.
    pub unknown: Option<Shown>,
    /// The others that are here.
    pub others: Vec<ImageName>,
}

/// Asks for the quarters that may be newer than what is here; nobody without a client.
pub(super) async fn look(
    client: Option<&Client>,
    of: &KeepSeries,
    inventory: Option<&Inventory>,
    now: Timestamp,
) -> QuartersSeen {
    let (series, today) = (&of.series, of.today(now));
    let names = inventory.into_iter().flat_map(|inventory| &inventory.images).flat_map(|image| &image.names);
    let here: BTreeSet<Quarter> = names.filter_map(|name| series.template.quarter_of(name)).collect();
    let newest_here = here.range(..=today).next_back().copied();
    let otherwise = newest_here.unwrap_or(today);
    let (wanted, unknown) = match (series.quarter, client) {
        (Some(fixed), _) => (fixed, None),
        (None, None) => (otherwise, None),
        (None, Some(client)) => match newest(client, &series.template, candidates(today, newest_here)).await {
            Ok(Some(quarter)) => (quarter, None),
            Ok(None) => (otherwise, newest_here.is_none().then_some(Shown::Gone)),
            Err(error) => (otherwise, Some(Shown::Unknown(error.to_string()))),
        },
    };
    let others = here.into_iter().filter(|quarter| *quarter != wanted);
    let others = others.map(|quarter| series.template.name(quarter)).collect();
    QuartersSeen { keep: series.keep(wanted), unknown, others }
}

/// The first that the registry has.
async fn newest(
    client: &Client,
    template: &Template,
    quarters: impl Iterator<Item = Quarter>,
) -> Result<Option<Quarter>, Error> {
    for quarter in quarters {
        match client.resolve(&template.name(quarter).to_reference()).await {
            Ok(_) => return Ok(Some(quarter)),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
