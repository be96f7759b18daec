//! The spool around a pull: what it needs there, what lies there already, and what goes where the disk is short.

use std::cmp::Reverse;
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
    // by itself the engine needs nothing of it
    let of_use = |entry: &Entry| way == Way::Relay && blobs.contains(&entry.digest);
    let (ours, mut others): (Vec<Entry>, Vec<Entry>) = lying.into_iter().partition(of_use);
    let most = ctx.settings().transfer.spool_max;
    let mut needed = Bytes::ZERO;
    if way == Way::Relay {
        let wanted = to_fetch(job).map(|(_, size)| size).sum::<Bytes>().min(most);
        // what lies there takes its room already
        needed = wanted - ours.iter().map(|entry| entry.bytes).sum();
        let gone = beyond(&mut others, most - wanted);
        if !gone.is_empty() {
            tracing::info!(image = %job.name, blobs = gone.len(), %most, "removes the oldest of what other pulls left in the spool: it would hold more than spool_max");
            clear(ctx, gone).await;
        }
    }
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

/// Takes out what is beyond so many bytes in all, the oldest first.
fn beyond(entries: &mut Vec<Entry>, most: Bytes) -> Vec<Digest> {
    entries.sort_by_key(|entry| Reverse(entry.changed));
    let mut held = Bytes::ZERO;
    let stays = entries.iter().take_while(|entry| {
        held += entry.bytes;
        held <= most
    });
    let stays = stays.count();
    entries.split_off(stays).into_iter().map(|entry| entry.digest).collect()
}

/// What a relay left in the spool for this image is of no use any more: the engine has it, or is to get it by itself.
pub(in crate::worker) async fn clear_spool(ctx: &Context, job: &Job<'_>) {
    clear(ctx, blobs(job).into_iter().collect()).await;
}

/// All that lies there, whoever left it: the disk is full.
pub(super) async fn clear_all(ctx: &Context) {
    let blobs = entries(ctx).await.into_iter().map(|entry| entry.digest).collect();
    clear(ctx, blobs).await;
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_oldest_goes_until_the_rest_is_within_the_bound() {
        let entry = |name: &str, bytes, age: u64| Entry {
            digest: Digest::of(name.as_bytes()),
            bytes: Bytes(bytes),
            changed: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age),
        };
        let all = vec![entry("old", 10, 9), entry("new", 30, 1), entry("middle", 20, 5)];
        for (most, gone) in [
            (60, vec![]),
            (59, vec!["old"]),
            (50, vec!["old"]),
            (49, vec!["middle", "old"]),
            (0, vec!["new", "middle", "old"]),
        ] {
            let mut entries = all.clone();
            let gone: Vec<Digest> = gone.into_iter().map(|name| Digest::of(name.as_bytes())).collect();
            assert_eq!(beyond(&mut entries, Bytes(most)), gone, "{most}");
            assert_eq!(entries.len() + gone.len(), 3);
        }
    }
}
