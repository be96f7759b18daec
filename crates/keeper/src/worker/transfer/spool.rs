//! The spool around a pull: what it needs there, what lies there already, and what goes where the disk is short.

use std::collections::HashSet;

use layerkeeper_core::plan::Way;
use layerkeeper_core::{Bytes, Digest};
use layerkeeper_relay::Entry;

use super::to_fetch;
use crate::context::Context;
use crate::job_error::JobError;
use crate::worker::bring::Job;
use crate::worker::room::fits;
use crate::worker::run::Run;

/// May the pull go this way, by the room that there is? Where it is short, what other pulls left in the spool goes first.
/// The sentence says why it may not.
pub(super) async fn has_room(run: &mut Run<'_>, job: &Job<'_>, way: Way) -> Result<Option<String>, JobError> {
    let (ctx, lying) = (run.ctx, entries(run.ctx).await);
    let blobs = blobs(job);
    let (ours, others): (Vec<Entry>, Vec<Entry>) = lying.into_iter().partition(|entry| blobs.contains(&entry.digest));
    let needed = match way {
        Way::Engine => Bytes::ZERO,
        Way::Relay => {
            let wanted: Bytes = to_fetch(job).map(|(_, size)| size).sum();
            // what lies there takes its room already
            wanted.min(ctx.settings().transfer.spool_max) - ours.iter().map(|entry| entry.bytes).sum()
        }
    };
    if (needed == Bytes::ZERO && others.is_empty()) || fits(run, job.name, job.estimate.as_ref(), needed).await? {
        return Ok(None);
    }
    if !others.is_empty() {
        let bytes: Bytes = others.iter().map(|entry| entry.bytes).sum();
        tracing::info!(image = %job.name, bytes = bytes.0, "removes from the spool what other pulls left there: the disk is short");
        clear(ctx, others.into_iter().map(|entry| entry.digest).collect()).await;
    }
    if needed == Bytes::ZERO || fits(run, job.name, job.estimate.as_ref(), needed).await? {
        return Ok(None);
    }
    clear_spool(ctx, job).await;
    Ok(Some(format!("there is no room for the relay's spool of {needed} beside it")))
}

/// What a relay left in the spool for this image is of no use any more: the engine has it, or is to get it by itself.
pub(in crate::worker) async fn clear_spool(ctx: &Context, job: &Job<'_>) {
    clear(ctx, blobs(job).into_iter().collect()).await;
}

async fn clear(ctx: &Context, blobs: Vec<Digest>) {
    if let (Some(relays), false) = (ctx.transfers.relays(), blobs.is_empty()) {
        relays.spool().clear(blobs).await;
    }
}

async fn entries(ctx: &Context) -> Vec<Entry> {
    let Some(relays) = ctx.transfers.relays() else { return Vec::new() };
    let spool = relays.spool().clone();
    tokio::task::spawn_blocking(move || spool.entries()).await.unwrap_or_default()
}

/// All that a relay would keep for this image.
fn blobs(job: &Job<'_>) -> HashSet<Digest> {
    let manifest = job.target.manifest.iter();
    manifest.flat_map(|m| m.layers.iter().map(|layer| layer.blob.digest).chain([m.config.digest])).collect()
}
