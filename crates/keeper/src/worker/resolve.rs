//! What a name is to stand for: the digest, what the registry's tag shows, and the image behind it.

use std::future::ready;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::future::{Either, OptionFuture, join, select};
use layerkeeper_core::plan::{Naming, naming};
use layerkeeper_core::{Bytes, Digest, ImageManifest, ImageName, Inventory, Reference};
use layerkeeper_engine::EngineError;
use layerkeeper_registry::{Error as RegistryError, Fetched, Resolved};
use tokio::time::Instant;

use crate::context::Context;
use crate::job_error::JobError;

/// What is to be brought here.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// What to pull.
    pub digest: Digest,
    /// What the registry's tag shows now; none when it shows nothing or nobody could be asked.
    pub tag_shows: Option<Digest>,
    /// Manifest and config; none when the daemon cannot reach the registry.
    pub manifest: Option<ImageManifest>,
    /// Bytes that finding this out moved.
    pub overhead: Bytes,
    /// Why the daemon had to do without the registry.
    pub unreachable: Option<String>,
    /// Nobody reaches the registry: the manifest is a mirror's, by its digest, and so will be the content.
    pub away: bool,
    /// How long it took to find all this out.
    pub took: Duration,
}

impl Target {
    /// This digest, of which nothing else is known.
    fn of(digest: Digest) -> Self {
        Self {
            digest,
            tag_shows: None,
            manifest: None,
            overhead: Bytes::ZERO,
            unreachable: None,
            away: false,
            took: Duration::ZERO,
        }
    }
}

/// What a name is to stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Whatever the registry's tag shows.
    Tag,
    /// This digest, as a sender names it: it may be the platform's manifest inside the tag's index, which then is what
    /// comes, as it would by a plain pull.
    Content(Digest),
    /// This digest and no other, as a pin names it.
    Exactly(Digest),
}

impl Wanted {
    fn digest(self) -> Option<Digest> {
        match self {
            Self::Tag => None,
            Self::Content(digest) | Self::Exactly(digest) => Some(digest),
        }
    }
}

/// Resolves a name.
pub(crate) async fn resolve(
    ctx: &Context,
    name: &ImageName,
    wish: Wanted,
    inventory: &Inventory,
) -> Result<Target, JobError> {
    let (begun, wanted) = (Instant::now(), wish.digest());
    let (shown, early) = ask(ctx, name, wanted, inventory).await;
    let mut target = match shown {
        Ok(shown) => Target {
            tag_shows: Some(shown.digest),
            overhead: shown.moved,
            ..Target::of(wanted.unwrap_or(shown.digest))
        },
        Err(error @ RegistryError::NotFound { .. }) => match wanted {
            // the digest may be there without the tag: a rollback after the tag was cleaned up
            Some(digest) => Target::of(digest),
            None => return Err(error.into()),
        },
        Err(error) if error.is_unreachable() => through_the_engine(ctx, name, wish, inventory, error).await?,
        Err(error) => stand_in(ctx, name, wanted, inventory, error).await?,
    };
    if target.unreachable.is_none() {
        read_manifest(ctx, name, wish, &mut target, inventory, early).await?;
    }
    target.took = begun.elapsed();
    Ok(target)
}

/// A manifest that is on its way.
type Early<'e> = Pin<Box<dyn Future<Output = Result<Fetched, RegistryError>> + Send + 'e>>;

/// Asks what the tag shows, with as few round trips one after the other as there can be: beside the manifest of a digest
/// that is known, or by the tag's manifest itself where it is new here, and will be wanted.
async fn ask<'e>(
    ctx: &'e Context,
    name: &ImageName,
    wanted: Option<Digest>,
    inventory: &'e Inventory,
) -> (Result<Resolved, RegistryError>, Option<Early<'e>>) {
    let (registry, tag) = (&ctx.registry, name.to_reference());
    let Some(digest) = wanted else {
        let shown = match inventory.named(name) {
            Some(_) => registry.resolve(&tag).await,
            None => registry.resolve_by_get(&tag).await,
        };
        return (shown, None);
    };
    let by_digest = name.repository.by_digest(digest);
    let early: Early<'e> = Box::pin(async move { registry.image(&by_digest, &inventory.engine.platform).await });
    // the tag first: while the registry is to be left alone nothing is asked beside it
    match select(pin!(registry.resolve(&tag)), early).await {
        Either::Left((shown, early)) => (shown, Some(early)),
        Either::Right((fetched, shown)) => (shown.await, Some(Box::pin(ready(fetched)))),
    }
}

/// The daemon cannot reach the registry; the engine, with its own proxy or mirrors, maybe can.
async fn through_the_engine(
    ctx: &Context,
    name: &ImageName,
    wish: Wanted,
    inventory: &Inventory,
    error: RegistryError,
) -> Result<Target, JobError> {
    let cause = error.to_string();
    if let Wanted::Content(digest) = wish
        && let Some(manifest) = here_under_its_index(ctx, name, digest, inventory).await
    {
        let target = Target::of(manifest.resolved);
        return Ok(Target { manifest: Some(manifest), unreachable: Some(cause), ..target });
    }
    let login = ctx.registry.login(name.repository.registry()).await?;
    let shown = ctx.engine.resolve(&name.to_reference(), login.as_ref()).await;
    // an engine that did reach the registry has its word, and that is not a mirror's
    let away = matches!(&shown, Err(EngineError::RegistryUnreachable(_) | EngineError::Other(_)));
    if let (true, Some(digest)) = (away, wish.digest())
        && let Some(target) = at_a_mirror(ctx, name, digest, inventory, &cause).await
    {
        return Ok(target);
    }
    let digest = match (wish.digest(), &shown) {
        (Some(digest), _) => digest,
        (None, Ok(digest)) => *digest,
        // the engine did reach it, or cannot itself be reached: its word is the cause
        (
            None,
            Err(
                error @ (EngineError::NotFound(_)
                | EngineError::Denied(_)
                | EngineError::TooManyRequests(_)
                | EngineError::Unreachable { .. }),
            ),
        ) => return Err(error.clone().into()),
        (None, Err(_)) => return Err(JobError::NoDigest { cause, here: digest_here(name, inventory) }),
    };
    tracing::warn!(image = %name, %cause, "goes on without the registry's manifest, through the engine");
    Ok(Target { tag_shows: shown.ok(), unreachable: Some(cause), ..Target::of(digest) })
}

/// The registry answers with an error. While it is broken a mirror stands in for it, for what a digest names.
async fn stand_in(
    ctx: &Context,
    name: &ImageName,
    wanted: Option<Digest>,
    inventory: &Inventory,
    error: RegistryError,
) -> Result<Target, JobError> {
    let Some(digest) = wanted.filter(|_| error.is_server_error()) else { return Err(error.into()) };
    // by a local tag, as it would be: a name that a container was made from waits for the registry, which can move it by a pull
    let naming = naming(name, digest, None, inventory.named(name), &inventory.containers);
    let mirrored = match naming {
        Naming::Forbidden(_) => None,
        _ => at_a_mirror(ctx, name, digest, inventory, &error.to_string()).await,
    };
    mirrored.ok_or_else(|| error.into())
}

/// Neither the daemon nor the engine gets anything from the registry. A mirror's word counts for what is asked for by its digest.
async fn at_a_mirror(
    ctx: &Context,
    name: &ImageName,
    digest: Digest,
    inventory: &Inventory,
    cause: &str,
) -> Option<Target> {
    let settings = ctx.settings();
    let (mirrors, caches) =
        (settings.transfer.mirrors_of(&name.repository), settings.transfer.caches_of(&name.repository));
    for mirror in caches.into_iter().chain(mirrors) {
        match ctx.registry.image(&mirror.by_digest(digest), &inventory.engine.platform).await {
            Ok(fetched) => {
                tracing::warn!(image = %name, %cause, mirror = mirror.registry(), "the registry gives nothing; a mirror has it by its digest");
                return Some(Target {
                    manifest: Some(fetched.image),
                    overhead: fetched.moved,
                    unreachable: Some(cause.to_owned()),
                    away: true,
                    ..Target::of(digest)
                });
            }
            Err(error) => tracing::debug!(image = %name, %error, mirror = mirror.registry(), "a mirror has it not"),
        }
    }
    None
}

/// The image that the name has here, where the wanted digest is the platform's manifest inside its index: what an earlier
/// deploy read of it is still in the registry client's memory, so a rollback needs no registry.
async fn here_under_its_index(
    ctx: &Context,
    name: &ImageName,
    wanted: Digest,
    inventory: &Inventory,
) -> Option<ImageManifest> {
    for digest in inventory.named(name)?.digests_in(&name.repository) {
        let reference = name.repository.by_digest(digest);
        if let Ok(fetched) = ctx.registry.image(&reference, &inventory.engine.platform).await
            && fetched.image.is_known_as(wanted)
        {
            return Some(fetched.image);
        }
    }
    None
}

fn digest_here(name: &ImageName, inventory: &Inventory) -> String {
    match inventory.named(name).and_then(|image| image.digests_in(&name.repository).next()) {
        Some(digest) => format!("here is {digest}; `layerkeeper deploy {name} --digest {digest}` accepts it"),
        None => "the name is not here".to_owned(),
    }
}

async fn read_manifest(
    ctx: &Context,
    name: &ImageName,
    wish: Wanted,
    target: &mut Target,
    inventory: &Inventory,
    early: Option<Early<'_>>,
) -> Result<(), JobError> {
    let (registry, platform) = (&ctx.registry, &inventory.engine.platform);
    // the wanted digest may be the platform's manifest inside the tag's index: the same content
    let may_be_inside = |shown: &Digest| matches!(wish, Wanted::Content(_)) && *shown != target.digest;
    let index = target.tag_shows.filter(may_be_inside).map(|shown| name.repository.by_digest(shown));
    let index = OptionFuture::from(index.as_ref().map(|index| registry.image(index, platform)));
    let (index, early) = join(index, OptionFuture::from(early)).await;
    if let Some(Ok(index)) = index {
        target.overhead += index.moved;
        if index.image.is_known_as(target.digest) {
            target.overhead += early.and_then(Result::ok).map(|early| early.moved).unwrap_or_default();
            target.digest = index.image.resolved;
            target.manifest = Some(index.image);
            return Ok(());
        }
    }
    let reference: Reference = name.repository.by_digest(target.digest);
    let fetched = match early {
        Some(early) => early,
        None => registry.image(&reference, platform).await,
    };
    match fetched {
        Ok(fetched) => {
            target.overhead += fetched.moved;
            target.manifest = Some(fetched.image);
            Ok(())
        }
        Err(error) if error.is_unreachable() => {
            target.unreachable = Some(error.to_string());
            Ok(())
        }
        Err(error) => {
            // it has just said what the tag shows
            let mirrored = stand_in(ctx, name, Some(target.digest), inventory, error).await?;
            *target = Target { overhead: target.overhead + mirrored.overhead, ..mirrored };
            Ok(())
        }
    }
}
