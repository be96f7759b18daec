//! What a pull would move, with nothing pulled.

use layerkeeper_core::plan::{Arrival, arrival};
use layerkeeper_core::reuse::estimate as judge;
use layerkeeper_core::{Reference, Selector};

use crate::context::Context;
use crate::handle::Estimated;
use crate::job_error::JobError;
use crate::worker::explain::explained;
use crate::worker::knowledge::holdings;

/// Estimates a pull of any reference.
pub(crate) async fn estimate(ctx: &Context, reference: &Reference) -> Result<Estimated, JobError> {
    let inventory = ctx.observe().await?;
    let manifest = ctx.registry.image(reference, &inventory.engine.platform).await?.image;
    let (holdings, records) = holdings(ctx, &inventory, &manifest).await?;
    let estimate = judge(&manifest, &holdings);
    let up_to_date = match &reference.selector {
        Selector::Tag(tag) => {
            let name = reference.repository.tagged(tag.clone());
            arrival(&name, manifest.resolved, Some(&manifest), &inventory) == Arrival::Done
        }
        Selector::Digest(digest) => inventory.with_digest(&reference.repository, *digest).is_some(),
    };
    let here = inventory.find(reference).and_then(|image| image.digests_in(&reference.repository).next());
    let settings = ctx.settings();
    let runtime = settings.policy.runtime(&reference.repository);
    Ok(Estimated {
        image: reference.to_string(),
        digest: manifest.resolved.to_string(),
        platform: manifest.platform.to_string(),
        digest_here: here.map(|digest| digest.to_string()),
        up_to_date,
        estimate: explained(ctx, &inventory, (&reference.repository, &manifest), &estimate, &records).await?,
        budget_bytes: runtime.map(|runtime| runtime.download_budget.0),
        limit_bytes: runtime.and_then(|runtime| runtime.download_limit).map(|limit| limit.0),
    })
}
