//! Puts together what the daemon tells about itself. Reads, and changes nothing.

use std::collections::HashMap;
use std::path::PathBuf;

use layerkeeper_core::layers::LayerRecord;
use layerkeeper_core::plan::space::Space;
use layerkeeper_core::plan::{Remote, judge_kept};
use layerkeeper_core::policy::{Keep, Runtime};
use layerkeeper_core::{Bytes, DiffId, Image, ImageName, Inventory, JobState, Policy, Quarter, StoreKind, Template};

use layerkeeper_store::{Provenance, Tombstone};

use crate::context::{Context, View};
use crate::disk;
use crate::heal;
use crate::kept::Kept;
use crate::status::{
    EngineStatus, ForgottenStatus, FromMirrorStatus, ImageStatus, KeptStatus, RunningStatus, RuntimeStatus, Status,
    SupersededStatus, TagStatus,
};
use crate::worker::{self, REMOVED};

/// The file systems that matter: the engine's data root, and what the configuration adds.
pub(crate) fn disk_paths(ctx: &Context) -> Vec<PathBuf> {
    let settings = ctx.settings();
    let view = ctx.view();
    let told = view.inventory.map(|inventory| PathBuf::from(&inventory.engine.data_root));
    let root = settings.data_root.clone().or(told);
    root.into_iter().chain(settings.disk_paths.iter().cloned()).collect()
}

/// Everything.
pub(crate) async fn status(ctx: &Context) -> Status {
    let settings = ctx.settings();
    let view = ctx.view();
    let superseded = superseded(ctx).await;
    let queued = ctx.store.job_counts().await.unwrap_or_default();
    let queued = queued.into_iter().find(|(state, _)| *state == JobState::Queued).map_or(0, |(_, n)| n);
    let mut runtime = Vec::new();
    for block in &settings.policy.runtime {
        runtime.push(runtime_status(ctx, block, view.inventory.as_deref()).await);
    }
    let prune_blocked = match view.inventory.as_deref() {
        Some(inventory) => worker::prune_blocked(ctx, &inventory.engine.instance()).await.ok().flatten(),
        None => Some("the engine has not been looked at yet".to_owned()),
    };
    let spool_bytes = spooled(ctx).await;
    Status {
        version: ctx.version.to_owned(),
        started_at: ctx.started.0,
        now: ctx.now().0,
        ready: ctx.is_ready(),
        kept: settings.policy.keep.iter().map(|keep| kept_status(ctx, keep, view.inventory.as_deref())).collect(),
        engine: engine_status(&view),
        runtime,
        disk: disk::status(&*ctx.disks, &disk_paths(ctx), settings.policy.min_free),
        queued,
        running: ctx.running().as_ref().map(|running| RunningStatus {
            id: running.id.to_string(),
            intent: running.intent.to_string(),
            started_at: Some(running.since.0),
        }),
        superseded_bytes: superseded.iter().filter_map(|s| s.size).sum(),
        superseded,
        last_prune: ctx.last_prune().clone(),
        prune_blocked,
        losses: ctx.open_losses().values().map(heal::Open::status).collect(),
        // what a prune took is told by the prune
        forgotten: ctx.buried().values().filter(|stone| !stone.reason.starts_with(REMOVED)).map(forgotten).collect(),
        from_mirrors: from_mirrors(ctx, view.inventory.as_deref()),
        spool_bytes,
    }
}

/// Names that stand by our word: what has moved on meanwhile is not told.
fn from_mirrors(ctx: &Context, inventory: Option<&Inventory>) -> Vec<FromMirrorStatus> {
    let moved_on = |record: &Provenance| {
        inventory.and_then(|inventory| inventory.named(&record.name)).is_some_and(|now| !record.is_of(now))
    };
    ctx.vouched.all().into_iter().filter(|record| !moved_on(record)).map(from_mirror).collect()
}

fn from_mirror(record: Provenance) -> FromMirrorStatus {
    FromMirrorStatus {
        image: record.name.to_string(),
        digest: record.digest.to_string(),
        source: record.source,
        at: record.at.0,
    }
}

/// Bytes in the relay's spool.
pub(crate) async fn spooled(ctx: &Context) -> u64 {
    let Some(spool) = ctx.transfers.relays().map(|relays| relays.spool().clone()) else { return 0 };
    tokio::task::spawn_blocking(move || spool.bytes().0).await.unwrap_or_default()
}

pub(crate) fn forgotten(stone: &Tombstone) -> ForgottenStatus {
    ForgottenStatus {
        image: stone.image.to_string(),
        who: stone.who.clone(),
        reason: stone.reason.clone(),
        at: stone.at.0,
    }
}

fn engine_status(view: &View) -> EngineStatus {
    let mut status = EngineStatus {
        up: view.error.is_none() && view.seen_at.is_some(),
        error: view.error.clone(),
        seen_at: view.seen_at.map(|at| at.0),
        ..EngineStatus::default()
    };
    if let Some(inventory) = &view.inventory {
        let engine = &inventory.engine;
        status.version = engine.version.clone();
        status.store = engine.store.to_string();
        status.driver = engine.driver.clone();
        status.platform = engine.platform.to_string();
        status.images = inventory.images.len() as u64;
    }
    status
}

fn kept_status(ctx: &Context, keep: &Keep, inventory: Option<&Inventory>) -> KeptStatus {
    let kept = ctx.kept(&keep.image).unwrap_or_else(|| Kept::new(keep.image.clone()));
    let verdict = inventory.map(|inventory| judge_kept(keep, inventory, &Remote::Unknown, kept.state.digest));
    let unmet = kept.state.unmet(&keep.expect);
    let is_unmet = verdict.as_ref().is_some_and(|verdict| kept.is_unmet(keep, verdict));
    let here = verdict.as_ref().and_then(|v| v.here);
    let present = verdict.as_ref().is_some_and(|verdict| kept.is_present(keep, verdict));
    let settings = ctx.settings();
    let schedule = settings.schedules.iter().find(|s| s.image == keep.image);
    let template = settings.series_of(&keep.image).map(|of| &of.series.template);
    KeptStatus {
        image: keep.image.to_string(),
        present,
        finding: match ctx.buried().contains_key(&keep.image) {
            true => "forgotten".to_owned(),
            false if is_unmet => "not as expected".to_owned(),
            false => verdict.as_ref().map_or("unknown", |v| v.finding.as_str()).to_owned(),
        },
        digest: here.map(|d| d.to_string()),
        unmet: unmet.map(|unmet| unmet.unmet.clone()).unwrap_or_default(),
        unmet_digest: unmet.map(|unmet| unmet.digest.to_string()),
        pin: keep.pin.map(|d| d.to_string()),
        pin_unresolvable: kept.pin_unresolvable,
        tag_shows: kept.tag_shows.map(|d| d.to_string()),
        last_refresh: kept.state.last_refresh.map(|at| at.0),
        last_error: kept.last_error,
        next_run: ctx.next_runs().get(&keep.image).map(|at| at.0),
        schedule: schedule.map(|s| format!("{} ({})", s.text, s.timezone)).unwrap_or_default(),
        series: template.map(ToString::to_string),
        left_here: match template.zip(inventory) {
            // where it is not, an earlier quarter is the last good one
            Some((template, inventory)) if present => {
                left_here(ctx, &settings.policy, &keep.image, template, inventory)
            }
            _ => Vec::new(),
        },
    }
}

/// The names of this series that are here and kept no more, earlier ones and such as were kept once, told once: with the first
/// that is kept. A later one that never was kept was brought here ahead by somebody.
fn left_here(
    ctx: &Context,
    policy: &Policy,
    image: &ImageName,
    template: &Template,
    inventory: &Inventory,
) -> Vec<String> {
    let quarter = |name: &ImageName| template.quarter_of(name);
    let mut kept = policy.keep.iter().map(|keep| &keep.image).filter(|name| quarter(name).is_some()).peekable();
    if kept.peek() != Some(&image) {
        return Vec::new();
    }
    let first = kept.filter_map(quarter).min();
    let names = inventory.images.iter().flat_map(|image| &image.names);
    let was_kept = |name: &ImageName| ctx.kept(name).is_some_and(|kept| kept.state.last_refresh.is_some());
    let is_left =
        |name: &ImageName, quarter: Quarter| policy.kept(name).is_none() && (Some(quarter) < first || was_kept(name));
    let mut left: Vec<_> = names.filter(|name| quarter(name).is_some_and(|quarter| is_left(name, quarter))).collect();
    left.sort();
    left.iter().map(ToString::to_string).collect()
}

async fn runtime_status(ctx: &Context, block: &Runtime, inventory: Option<&Inventory>) -> RuntimeStatus {
    let mut tags = Vec::new();
    if let Some(inventory) = inventory {
        let history = ctx.store.name_history(&inventory.engine.instance()).await.unwrap_or_default();
        for image in &inventory.images {
            for name in image.names.iter().filter(|name| name.repository == block.repository) {
                let record = history.get(name);
                let tag = TagStatus {
                    image: name.to_string(),
                    digest: image.digests_in(&block.repository).next().map(|d| d.to_string()),
                    deploy: record.and_then(|r| r.deployed).map(|(number, _)| number),
                    deployed_at: record.and_then(|r| r.deployed).map(|(_, at)| at.0),
                    first_seen: record.map(|r| r.first_seen.0),
                    held_by: inventory.holders(image).map(|c| format!("{} ({})", c.name, c.state)).collect(),
                };
                tags.push((record.map_or(0, |r| r.place), tag));
            }
        }
    }
    tags.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.image.cmp(&y.image)));
    RuntimeStatus {
        repository: block.repository.to_string(),
        tags: tags.into_iter().map(|(_, tag)| tag).collect(),
        download_budget: block.download_budget.0,
    }
}

/// The superseded digests that are still here, with what each frees when they are removed in this order: together, what
/// all of them free.
pub(crate) async fn superseded(ctx: &Context) -> Vec<SupersededStatus> {
    let Some(inventory) = ctx.view().inventory else { return Vec::new() };
    let instance = inventory.engine.instance();
    let recorded = ctx.store.superseded(&instance).await.unwrap_or_default();
    let layers = ctx.store.layer_records(&instance).await.unwrap_or_default();
    let mut space = space(&inventory, &layers);
    let mut listed: Vec<SupersededStatus> = Vec::new();
    for old in recorded {
        let reference = old.repository.by_digest(old.digest).to_string();
        // a tag that points at it again has taken it back; two names may have left the same digest behind
        let here = inventory.with_digest(&old.repository, old.digest).filter(|image| image.names.is_empty());
        let Some(image) = here.filter(|_| listed.iter().all(|other| other.reference != reference)) else { continue };
        listed.push(SupersededStatus {
            reference,
            was: old.was.to_string(),
            size: Some(space.remove(image).0),
            at: old.at.0,
        });
    }
    listed
}

/// What the images of this engine take, with the blobs that the containerd store keeps.
fn space(inventory: &Inventory, layers: &[LayerRecord]) -> Space {
    let keeps_blobs = inventory.engine.store == StoreKind::Containerd;
    let blobs: HashMap<DiffId, Bytes> =
        layers.iter().filter(|_| keeps_blobs).map(|layer| (layer.diff_id, layer.size)).collect();
    Space::new(&inventory.images, |layer: DiffId| blobs.get(&layer).copied().unwrap_or_default())
}

/// What all images take unpacked, each layer once.
pub(crate) fn unpacked(inventory: &Inventory) -> Bytes {
    let mut space = space(inventory, &[]);
    inventory.images.iter().map(|image| space.remove(image)).sum()
}

/// All images on the engine.
pub(crate) fn images(ctx: &Context) -> Vec<ImageStatus> {
    let Some(inventory) = ctx.view().inventory else { return Vec::new() };
    let settings = ctx.settings();
    let role = |image: &Image| {
        if image.names.iter().any(|name| settings.policy.kept(name).is_some()) {
            "kept"
        } else if image.names.iter().any(|name| settings.policy.runtime(&name.repository).is_some()) {
            "runtime"
        } else {
            "other"
        }
    };
    inventory
        .images
        .iter()
        .map(|image| ImageStatus {
            id: image.id.to_string(),
            names: image.names.iter().map(ToString::to_string).collect(),
            digests: image.digests.iter().map(|(r, d)| r.by_digest(*d).to_string()).collect(),
            layers: image.layers.iter().map(ToString::to_string).collect(),
            size_bytes: image.layer_bytes.iter().map(|bytes| bytes.0).sum(),
            held_by: inventory.holders(image).map(|c| format!("{} ({})", c.name, c.state)).collect(),
            role: role(image).to_owned(),
        })
        .collect()
}
