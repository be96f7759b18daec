//! `GET /images/json` and `GET /images/{name}/json`: what is here, with layers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::ListImagesOptionsBuilder;
use futures_util::{StreamExt, TryStreamExt, stream};
use layerkeeper_core::{
    Bytes, DiffId, Digest, Image, ImageId, ImageName, Reference, Repository, Selector, StoreKind, Timestamp,
};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::session::Session;
use super::{history, instant};
use crate::EngineError;

/// How many questions about single images are under way at once.
const AT_ONCE: usize = 8;

/// Milliseconds between lists that fail because an image goes away: two seconds in all.
const LIST_AGAIN: [u64; 6] = [20, 40, 100, 200, 500, 1140];

/// More images than any host holds; beyond it the cache starts anew.
const CACHED: usize = 4096;

/// Layers by image id: an id is a digest, so what it stands for never changes.
#[derive(Debug, Default)]
pub(super) struct LayerCache(Mutex<HashMap<ImageId, Layers>>);

#[derive(Debug, Clone)]
struct Layers {
    diff_ids: Vec<DiffId>,
    bytes: Vec<Bytes>,
}

/// A row of the list, parsed; rows of one id are merged.
struct Row {
    names: BTreeSet<ImageName>,
    digests: BTreeSet<(Repository, Digest)>,
    created: Timestamp,
}

/// All images, sorted by id. One that goes away while we look is left out.
pub(super) async fn all(session: &Session, cache: &LayerCache, store: StoreKind) -> Result<Vec<Image>, EngineError> {
    let rows = merge(list(session).await?)?;
    cache.keep_only(&rows.keys().copied().collect());
    let images = stream::iter(rows)
        .map(|(id, row)| async move { complete(session, cache, store, id, row).await })
        .buffered(AT_ONCE)
        .try_filter_map(|image| async move { Ok(image) })
        .try_collect()
        .await?;
    Ok(images)
}

/// Does each of these images still bear just these names and digests? An id is a digest: its layers cannot change.
pub(super) async fn are_these(session: &Session, images: &[Image]) -> Result<bool, EngineError> {
    let is_it = |image: &Image| {
        let image = image.clone();
        async move {
            let Some(inspect) = inspect(session, &image.id.to_string()).await? else { return Ok(false) };
            Ok(names(inspect.repo_tags.as_deref().unwrap_or_default()) == image.names
                && digests(inspect.repo_digests.as_deref().unwrap_or_default()) == image.digests)
        }
    };
    stream::iter(images).map(is_it).buffered(AT_ONCE).try_all(|is_it| async move { is_it }).await
}

/// The containerd store fails the whole list when one image goes away while it is made ("failed to calculate size of image
/// …: not found", measured on 26.1), so a list that failed like that is asked for again.
async fn list(session: &Session) -> Result<Vec<ImageSummary>, EngineError> {
    let ask = || {
        session.quick(|client| async move {
            let options = ListImagesOptionsBuilder::new().build();
            client.list_images(Some(options)).await
        })
    };
    for pause in LIST_AGAIN {
        match ask().await {
            Err(EngineError::Vanished(cause) | EngineError::NotFound(cause)) => {
                debug!(cause, "an image went away while the engine made its list; asks again");
                sleep(Duration::from_millis(pause)).await;
            }
            answer => return answer,
        }
    }
    ask().await
}

/// The image behind a reference, none when there is no such image.
pub(super) async fn one(
    session: &Session,
    cache: &LayerCache,
    reference: &Reference,
) -> Result<Option<Image>, EngineError> {
    let Some(inspect) = inspect(session, &reference.to_string()).await? else { return Ok(None) };
    let id = image_id(inspect.id.as_deref().unwrap_or_default())?;
    let created = inspect.created.as_deref().and_then(instant::parse).unwrap_or_default();
    let row = Row {
        names: names(inspect.repo_tags.as_deref().unwrap_or_default()),
        digests: digests(inspect.repo_digests.as_deref().unwrap_or_default()),
        created,
    };
    let asked_for = match &reference.selector {
        Selector::Tag(tag) => row.names.contains(&reference.repository.tagged(tag.clone())),
        Selector::Digest(digest) => row.digests.contains(&(reference.repository.clone(), *digest)),
    };
    if !asked_for {
        debug!(%reference, %id, "the engine answered with an image that does not bear the name");
        return Ok(None);
    }
    let Some(layers) = layers(session, cache, id, Some(inspect)).await? else { return Ok(None) };
    Ok(Some(image(id, row, layers)))
}

fn image(id: ImageId, row: Row, layers: Layers) -> Image {
    let Row { names, digests, created } = row;
    Image { id, names, digests, layers: layers.diff_ids, layer_bytes: layers.bytes, created }
}

/// Adds to a row what the list leaves out. The classic store's list is complete but for the layers; the containerd
/// store's names only one repository in RepoDigests.
async fn complete(
    session: &Session,
    cache: &LayerCache,
    store: StoreKind,
    id: ImageId,
    mut row: Row,
) -> Result<Option<Image>, EngineError> {
    let mut inspected = None;
    if store == StoreKind::Containerd {
        match inspect(session, &id.to_string()).await {
            Ok(Some(inspect)) => {
                row.names.extend(names(inspect.repo_tags.as_deref().unwrap_or_default()));
                row.digests.extend(digests(inspect.repo_digests.as_deref().unwrap_or_default()));
                inspected = Some(inspect);
            }
            other => return skip(id, other.map(drop)),
        }
    }
    match layers(session, cache, id, inspected).await {
        Ok(Some(layers)) => Ok(Some(image(id, row, layers))),
        other => skip(id, other.map(drop)),
    }
}

/// An image that is listed and cannot be read is not here in any sense that counts (its content may be incomplete); one
/// of them must not hide all the others. An engine that does not answer is another matter.
fn skip(id: ImageId, outcome: Result<(), EngineError>) -> Result<Option<Image>, EngineError> {
    match outcome {
        Ok(()) => debug!(%id, "an image went away while the engine's images were listed"),
        Err(error @ (EngineError::Unreachable { .. } | EngineError::Malformed(_))) => return Err(error),
        Err(error) => warn!(%id, %error, "the engine lists an image that it cannot describe; it is left out"),
    }
    Ok(None)
}

/// The image's layers, from the cache or the engine; none when the image is gone.
async fn layers(
    session: &Session,
    cache: &LayerCache,
    id: ImageId,
    inspected: Option<ImageInspect>,
) -> Result<Option<Layers>, EngineError> {
    if let Some(layers) = cache.get(id) {
        return Ok(Some(layers));
    }
    let name = id.to_string();
    let inspected = match inspected {
        Some(inspected) => inspected,
        None => match inspect(session, &name).await? {
            Some(inspected) => inspected,
            None => return Ok(None),
        },
    };
    let root = inspected.root_fs.ok_or_else(|| EngineError::Malformed(format!("image {id} has no RootFS")))?;
    let diff_ids = root.layers.unwrap_or_default().iter().map(|text| text.parse()).collect::<Result<Vec<DiffId>, _>>();
    let diff_ids = diff_ids.map_err(|e| EngineError::Malformed(format!("a layer of image {id}: {e}")))?;
    let history = session.quick(|client| {
        let name = name.clone();
        async move { client.image_history(&name).await }
    });
    let bytes = match history.await {
        Ok(history) => history::layer_bytes(&history, diff_ids.len()),
        Err(EngineError::NotFound(_)) => return Ok(None),
        Err(error @ EngineError::Unreachable { .. }) => return Err(error),
        Err(error) => {
            debug!(%id, %error, "no history; the layers' sizes stay unknown");
            Vec::new()
        }
    };
    let layers = Layers { diff_ids, bytes };
    cache.put(id, layers.clone());
    Ok(Some(layers))
}

/// The labels in an image's configuration.
pub(super) async fn labels(session: &Session, reference: &Reference) -> Result<BTreeMap<String, String>, EngineError> {
    let name = reference.to_string();
    let inspected =
        inspect(session, &name).await?.ok_or_else(|| EngineError::NotFound(format!("No such image: {name}")))?;
    Ok(inspected.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect())
}

/// The places that an image declares as volumes, each once.
pub(super) async fn volumes(session: &Session, reference: &Reference) -> Result<BTreeSet<String>, EngineError> {
    let name = reference.to_string();
    let inspect = inspect(session, &name).await?;
    let inspect = inspect.ok_or_else(|| EngineError::NotFound(format!("No such image: {name}")))?;
    let volumes = inspect.config.and_then(|config| config.volumes).unwrap_or_default();
    let places = volumes.iter().map(|place| place.trim_end_matches('/').to_owned());
    Ok(places.filter(|place| place.starts_with('/')).collect())
}

async fn inspect(session: &Session, name: &str) -> Result<Option<ImageInspect>, EngineError> {
    let answer = session.quick(|client| {
        let name = name.to_owned();
        async move { client.inspect_image(&name).await }
    });
    match answer.await {
        Ok(inspect) => Ok(Some(inspect)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn merge(list: Vec<ImageSummary>) -> Result<BTreeMap<ImageId, Row>, EngineError> {
    let mut rows: BTreeMap<ImageId, Row> = BTreeMap::new();
    for summary in list {
        let created = Timestamp(summary.created.saturating_mul(1000));
        let row = rows.entry(image_id(&summary.id)?).or_insert(Row {
            names: BTreeSet::new(),
            digests: BTreeSet::new(),
            created,
        });
        row.names.extend(names(&summary.repo_tags));
        row.digests.extend(digests(&summary.repo_digests));
    }
    Ok(rows)
}

fn image_id(text: &str) -> Result<ImageId, EngineError> {
    text.parse().map_err(|e| EngineError::Malformed(format!("an image's Id: {e}")))
}

/// `<none>:<none>` and whatever else is no name is left out.
fn names(texts: &[String]) -> BTreeSet<ImageName> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn digests(texts: &[String]) -> BTreeSet<(Repository, Digest)> {
    let row = |text: &String| {
        let (repository, digest) = text.split_once('@')?;
        Some((repository.parse().ok()?, digest.parse().ok()?))
    };
    texts.iter().filter_map(row).collect()
}

impl LayerCache {
    fn get(&self, id: ImageId) -> Option<Layers> {
        self.map().get(&id).cloned()
    }

    fn put(&self, id: ImageId, layers: Layers) {
        let mut map = self.map();
        if map.len() >= CACHED {
            map.clear();
        }
        map.insert(id, layers);
    }

    fn keep_only(&self, ids: &HashSet<ImageId>) {
        self.map().retain(|id, _| ids.contains(id));
    }

    fn map(&self) -> MutexGuard<'_, HashMap<ImageId, Layers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_image_are_merged_and_names_without_meaning_are_dropped() {
        let id = format!("sha256:{}", "ab".repeat(32));
        let row = |tags: &[&str], digests: Vec<String>| ImageSummary {
            id: id.clone(),
            repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            repo_digests: digests,
            created: 12,
            ..ImageSummary::default()
        };
        let rows = merge(vec![
            row(&["<none>:<none>"], vec!["<none>@<none>".to_owned(), format!("r.io/a@{id}")]),
            row(&["r.io/a:1", "nginx:1"], Vec::new()),
        ])
        .unwrap();
        let row = rows.values().next().unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            row.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["docker.io/library/nginx:1", "r.io/a:1"]
        );
        assert_eq!(row.digests.len(), 1);
        assert_eq!(row.created, Timestamp(12_000));
    }

    #[test]
    fn the_cache_forgets_what_is_gone() {
        let cache = LayerCache::default();
        let (a, b) = (ImageId::of(b"a"), ImageId::of(b"b"));
        for id in [a, b] {
            cache.put(id, Layers { diff_ids: Vec::new(), bytes: Vec::new() });
        }
        cache.keep_only(&HashSet::from([b]));
        assert!(cache.get(a).is_none() && cache.get(b).is_some());
    }
}
