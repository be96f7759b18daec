//! Files inside the fake's images: each layer has one, named after it.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use layerkeeper_core::{Container, ContainerState, Reference};

use super::Fake;
use super::image::FakeImage;
use super::state::State;
use crate::EngineError;
use crate::contents::{Bytestream, Kind};

/// The names of containers that are there to read an image by. By this prefix and its owner behind it a test can make one
/// that was left by another daemon, or by a call that was cut: [`super::Fake::create_container`].
const READING: &str = "layerkeeper-reading-";

impl Fake {
    /// From now on archives bring nothing, until they do again.
    pub fn stall_archives(&self, stalled: bool) {
        self.shared.change(|state| state.stalled = stalled);
    }

    /// The next removal of such a container fails like this; several queue up.
    pub fn spoil_next_close(&self, error: EngineError) {
        self.shared.change(|state| state.close_faults.push_back(error));
    }

    /// From now on this one cannot be removed, until it can again.
    pub fn hold_open(&self, id: &str, held: bool) {
        self.shared.change(|state| match held {
            true => state.held_open.insert(id.to_owned()),
            false => state.held_open.remove(id),
        });
    }

    /// How often such a container was to be removed.
    pub fn closes(&self) -> u64 {
        self.shared.lock().closes
    }

    /// Of the next containers that images are read through, somebody removes these as soon as they are made.
    pub fn lose_opened(&self, lost: &[bool]) {
        self.shared.change(|state| state.opens_to_lose.extend(lost));
    }
}

/// Is it this owner's, and did it never run?
pub(super) fn is_of(container: &Container, owner: &str) -> bool {
    matches!(container.state, ContainerState::Created | ContainerState::Dead)
        && container.name.strip_prefix(READING).is_some_and(|rest| rest.starts_with(&format!("{owner}-")))
}

pub(super) fn open(state: &mut State, image: &Reference, owner: &str) -> Result<String, EngineError> {
    let id = state.find(image).ok_or_else(|| EngineError::NotFound(format!("No such image: {image}")))?;
    state.created += 1;
    let opened = Container {
        id: format!("{:064x}", state.created),
        name: format!("{READING}{owner}-{}", state.created),
        state: ContainerState::Created,
        image: Some(id),
        created_from: image.name(),
    };
    let id = opened.id.clone();
    if state.opens_to_lose.pop_front().unwrap_or(false) {
        return Ok(id);
    }
    state.opened.insert(id.clone());
    state.containers.push(opened);
    Ok(id)
}

pub(super) fn close(state: &mut State, opened: &str) -> Result<(), EngineError> {
    state.closes += 1;
    match state.close_faults.pop_front() {
        Some(error) => Err(error),
        None if state.held_open.contains(opened) => Err(EngineError::Other("device or resource busy".to_owned())),
        None => {
            state.containers.retain(|container| container.id != opened);
            Ok(())
        }
    }
}

/// Path and content of every file below a path; below a file the engine has another error than where there is nothing.
pub(super) fn below(state: &State, opened: &str, path: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
    let image = inside(state, opened)?;
    let root = path.trim_end_matches('/');
    let inside = |name: &str| name == root || is_below(name, root);
    let all = || image.layers.iter().flat_map(|layer| layer.files.iter());
    if all().any(|(name, _)| is_below(root, name)) {
        return Err(EngineError::Other(format!("lstat {path}: not a directory")));
    }
    let files: Vec<_> = all().filter(|(name, _)| inside(name)).cloned().collect();
    if files.is_empty() {
        return Err(EngineError::NotFound(format!("Could not find the file {path} in container {opened}")));
    }
    Ok(files)
}

/// What lies at a path, with its directories' links followed.
pub(super) fn stat(state: &State, opened: &str, path: &str) -> Result<Option<Kind>, EngineError> {
    // as of the engine, which says in both cases no more than 404
    let Ok(image) = inside(state, opened) else { return Ok(None) };
    if path == "/" {
        return Ok(Some(Kind::Directory));
    }
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let at = format!("{}/{last}", follow(image, above));
    if target(image, &at).is_some() {
        return Ok(Some(Kind::Link(follow(image, &at))));
    }
    let mut names = image.layers.iter().flat_map(|layer| {
        layer.files.iter().map(|(name, _)| name).chain(layer.links.iter().map(|(name, _)| name)).map(String::as_str)
    });
    let kind = names.find_map(|name| match name {
        name if name == at => Some(Kind::File),
        name if is_below(name, &at) => Some(Kind::Directory),
        _ => None,
    });
    Ok(kind)
}

/// The labels of an image.
pub(super) fn labels(state: &State, reference: &Reference) -> Result<BTreeMap<String, String>, EngineError> {
    let held = state.find(reference).and_then(|id| state.images.get(&id));
    let held = held.ok_or_else(|| EngineError::NotFound(format!("No such image: {reference}")))?;
    Ok(BTreeMap::from([("label".to_owned(), held.image.label.clone())]))
}

fn inside<'s>(state: &'s State, opened: &str) -> Result<&'s FakeImage, EngineError> {
    let gone = || EngineError::NotFound(format!("No such container: {opened}"));
    let container = state.containers.iter().find(|container| container.id == opened).ok_or_else(gone)?;
    let held = container.image.and_then(|id| state.images.get(&id)).ok_or_else(gone)?;
    Ok(&held.image)
}

fn is_below(name: &str, root: &str) -> bool {
    name.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
}

fn target<'i>(image: &'i FakeImage, path: &str) -> Option<&'i str> {
    let mut links = image.layers.iter().flat_map(|layer| &layer.links);
    links.find(|(name, _)| name == path).map(|(_, target)| target.as_str())
}

/// The path with every link in it followed, inside the image.
fn follow(image: &FakeImage, path: &str) -> String {
    let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let (mut at, mut links) = (String::new(), 0);
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => {}
            ".." => at.truncate(at.rfind('/').unwrap_or(0)),
            part => {
                let next = format!("{at}/{part}");
                match target(image, &next).filter(|_| links < 255) {
                    Some(target) => {
                        links += 1;
                        if target.starts_with('/') {
                            at.clear();
                        }
                        left.extend(target.split('/').rev().map(str::to_owned));
                    }
                    None => at = next,
                }
            }
        }
    }
    at
}

/// As the engine packs them: from the path's own name on.
pub(super) async fn pack(path: &str, files: Vec<(String, Vec<u8>)>) -> Result<Bytestream, EngineError> {
    let above = path.trim_end_matches('/').rsplit_once('/').map_or(0, |(above, _)| above.len() + 1);
    let mut builder = tokio_tar::Builder::new(Vec::new());
    let broken = |error: std::io::Error| EngineError::Malformed(error.to_string());
    for (name, content) in files {
        let mut header = tokio_tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, &name[above..], &*content).await.map_err(broken)?;
    }
    let bytes = builder.into_inner().await.map_err(broken)?;
    Ok(stream::iter([Ok(bytes.into())]).boxed())
}
