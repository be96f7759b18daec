//! The disk guard: a pull begins only where the floor would hold at its peak. Where it would not, old tags may make the
//! room, all or nothing; else the job is refused, with the numbers.

use std::path::PathBuf;

use layerkeeper_core::job::JobKind;
use layerkeeper_core::plan::prune::PressurePlan;
use layerkeeper_core::plan::room::{Growth, Peak};
use layerkeeper_core::plan::{PressureQuestion, plan_pressure, space_of};
use layerkeeper_core::reuse::Estimate;
use layerkeeper_core::{Bytes, DiffId, ImageName, StoreKind};

use crate::context::Context;
use crate::disk::FileSystem;
use crate::job_error::JobError;
use crate::tell;
use crate::worker::prune;
use crate::worker::records::Records;
use crate::worker::remove::Removals;
use crate::worker::run::Run;

/// Of the disk that the spool shares with the state, so much is left to the database.
const FOR_STATE: Bytes = Bytes(16_000_000);

/// What would be missing on one file system.
#[derive(Debug, Clone)]
struct Shortfall {
    path: PathBuf,
    fs: FileSystem,
    bytes: Bytes,
    inodes: u64,
}

/// What a pull needs.
struct Need<'n> {
    name: &'n ImageName,
    peak: Peak,
    min_free: Bytes,
    store: StoreKind,
    /// A relay's spool beside it, and the file system that it is on.
    spool: Option<(u64, Bytes)>,
}

/// Sees to it that the pull of `name` fits. `estimate` is none where nobody knows what moves; then only the floor counts.
pub(super) async fn make_room(
    run: &mut Run<'_>,
    name: &ImageName,
    estimate: Option<&Estimate>,
    kind: JobKind,
) -> Result<(), JobError> {
    let ctx = run.ctx;
    let inventory = run.glance().await?;
    let layers = ctx.store.layer_records(&inventory.engine.instance()).await?;
    let peak = estimate.map(|estimate| Growth::of(&inventory, &layers).peak(estimate)).unwrap_or_default();
    let min_free = ctx.settings().policy.min_free;
    let need = Need { name, peak, min_free, store: inventory.engine.store, spool: None };
    let Some(short) = shortfall(ctx, &need) else { return Ok(()) };
    let records = Records::read(ctx, inventory).await?;
    let incoming: Vec<DiffId> = estimate.into_iter().flat_map(|e| e.layers.iter().map(|layer| layer.diff_id)).collect();
    let question =
        PressureQuestion { prune: records.question(false), wanted: wanted(&short, &need), incoming: &incoming };
    let found = plan_pressure(&question);
    if kind == JobKind::Heal || !found.enough {
        return Err(no_room(ctx, &short, &need, kind, Some(&found)).await);
    }
    carry_out(run, &found, &records, &need).await?;
    match shortfall(ctx, &need) {
        None => Ok(()),
        Some(short) => Err(no_room(ctx, &short, &need, kind, None).await),
    }
}

/// Would the pull of `name` fit beside a spool of so many bytes, with nothing removed?
pub(super) async fn fits(
    run: &mut Run<'_>,
    name: &ImageName,
    estimate: Option<&Estimate>,
    spool: Bytes,
) -> Result<bool, JobError> {
    let ctx = run.ctx;
    let inventory = run.glance().await?;
    let layers = ctx.store.layer_records(&inventory.engine.instance()).await?;
    let peak = estimate.map(|estimate| Growth::of(&inventory, &layers).peak(estimate)).unwrap_or_default();
    let fs = disk_of_spool(ctx);
    if let Some(fs) = fs
        && !is_watched(ctx, fs)
        && fs.free < spool + FOR_STATE
    {
        return Ok(false);
    }
    let min_free = ctx.settings().policy.min_free;
    let need = Need { name, peak, min_free, store: inventory.engine.store, spool: fs.map(|fs| (fs.id, spool)) };
    Ok(shortfall(ctx, &need).is_none())
}

/// The file system that the spool is on.
fn disk_of_spool(ctx: &Context) -> Option<FileSystem> {
    let relays = ctx.transfers.relays()?;
    // the folder is made with the first piece
    relays.spool().dir().ancestors().find_map(|dir| ctx.disks.look(dir).ok())
}

/// Is it one of those that the floor is held on?
fn is_watched(ctx: &Context, fs: FileSystem) -> bool {
    tell::disk_paths(ctx).into_iter().any(|path| ctx.disks.look(&path).is_ok_and(|other| other.id == fs.id))
}

/// Does the spool take from the room that the engine has?
pub(super) fn spool_shares_its_disk(ctx: &Context) -> bool {
    disk_of_spool(ctx).is_some_and(|fs| is_watched(ctx, fs))
}

/// Removes until it fits: enough is enough.
async fn carry_out(
    run: &mut Run<'_>,
    found: &PressurePlan,
    records: &Records,
    need: &Need<'_>,
) -> Result<(), JobError> {
    let mut done = prune::record(&found.plan, None);
    let mut removals = Removals::new(&records.inventory, space_of(&records.question(false)));
    run.outcome.pressure = Some(done.clone());
    run.save().await?;
    for (at, removal) in found.plan.removals.iter().enumerate() {
        if shortfall(run.ctx, need).is_none() {
            break;
        }
        let record = removals.remove(run, removal).await;
        done.freed_bytes += record.freed_bytes;
        done.removals[at] = record;
        run.outcome.pressure = Some(done.clone());
    }
    run.warn(format!("made room for {}: freed {}", need.name, Bytes(done.freed_bytes)));
    *run.ctx.last_prune() = Some(done);
    Ok(run.save().await?)
}

/// The file system that lacks most; none where the pull fits on all of them. The classic store writes to its data root
/// only; where containerd has its root, no engine says, so there every file system that is watched must have the room.
fn shortfall(ctx: &Context, need: &Need<'_>) -> Option<Shortfall> {
    let mut seen = Vec::new();
    let mut worst: Option<Shortfall> = None;
    for (at, path) in tell::disk_paths(ctx).into_iter().enumerate() {
        let fs = match ctx.disks.look(&path) {
            Ok(fs) => fs,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot see how much is free here; goes on without");
                continue;
            }
        };
        if seen.contains(&fs.id) {
            continue;
        }
        seen.push(fs.id);
        let written = at == 0 || need.store == StoreKind::Containerd;
        let peak = if written { need.peak } else { Peak::default() };
        let inodes = (peak.unpacked.0 as f64 * fs.inode_density()) as u64;
        let spool = need.spool.filter(|(on, _)| *on == fs.id).map(|(_, bytes)| bytes).unwrap_or_default();
        let bytes = (peak.bytes() + spool + need.min_free) - fs.free;
        let inodes = if fs.total_inodes == 0 { 0 } else { inodes.saturating_sub(fs.free_inodes) };
        if (bytes > Bytes::ZERO || inodes > 0) && worst.as_ref().is_none_or(|worst| worst.bytes < bytes) {
            worst = Some(Shortfall { path, fs, bytes, inodes });
        }
    }
    worst
}

/// What must be freed; for inodes, the bytes that hold so many.
fn wanted(short: &Shortfall, need: &Need<'_>) -> Bytes {
    let density = short.fs.inode_density();
    let for_inodes = if density > 0.0 { Bytes((short.inodes as f64 / density) as u64) } else { need.peak.bytes() };
    if short.inodes > 0 { short.bytes.max(for_inodes) } else { short.bytes }
}

async fn no_room(
    ctx: &Context,
    short: &Shortfall,
    need: &Need<'_>,
    kind: JobKind,
    found: Option<&PressurePlan>,
) -> JobError {
    let (peak, fs) = (need.peak, short.fs);
    let mut numbers = format!(
        "it takes up to {} at its peak ({} downloaded, {} unpacked), {} are free, and {} must stay free",
        peak.bytes(),
        peak.download,
        peak.unpacked,
        fs.free,
        need.min_free
    );
    if short.bytes > Bytes::ZERO {
        numbers.push_str(&format!(": {} are missing", short.bytes));
    }
    if short.inodes > 0 {
        numbers.push_str(&format!("; {} inodes are missing, {} are free", short.inodes, fs.free_inodes));
    }
    let mut detail = format!("no room for {} on {}: {numbers}.", need.name, short.path.display());
    match found {
        _ if kind == JobKind::Heal => detail.push_str(" Healing removes nothing to make room."),
        Some(found) => {
            let names = found.plan.removals.len();
            detail.push_str(&format!(
                " All that may go would free {} ({names} names), which is not enough, so nothing was removed.",
                found.freed
            ));
        }
        None => detail.push_str(" What the plan said would be freed was not."),
    }
    detail.push_str(&others(ctx, fs).await);
    JobError::NoRoom { numbers, detail }
}

/// What the disk is full of: what images take, what is superseded, and what is not ours.
async fn others(ctx: &Context, fs: FileSystem) -> String {
    let mut text = String::new();
    let superseded: Bytes = tell::superseded(ctx).await.iter().filter_map(|old| old.size).map(Bytes).sum();
    text.push_str(&format!(
        " Superseded digests hold {superseded}: `layerkeeper prune --superseded` removes them once, \
         remove_superseded = \"on-pressure\" in [disk] whenever room is needed."
    ));
    if let Some(inventory) = ctx.view().inventory {
        let images = tell::unpacked(&inventory);
        text.push_str(&format!(
            " Of {} used here, all images together take {images}; the rest is other data.",
            fs.total - fs.free
        ));
    }
    text
}
