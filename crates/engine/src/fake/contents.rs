//! Files inside the fake's images: each layer has one, named after it.

use futures_util::{StreamExt, stream};
use layerkeeper_core::{Container, ContainerState, Reference};

use super::state::State;
use crate::EngineError;
use crate::contents::Bytestream;

/// The names of containers that are there to read an image by. By this prefix and its owner behind it a test can make one
/// that was left by another daemon, or by a call that was cut: [`super::Fake::create_container`].
const READING: &str = "layerkeeper-reading-";

/// Is it this owner's?
pub(super) fn is_of(container: &Container, owner: &str) -> bool {
    container.name.strip_prefix(READING).is_some_and(|rest| rest.starts_with(&format!("{owner}-")))
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
    state.opened.insert(id.clone());
    state.containers.push(opened);
    Ok(id)
}

/// Path and content of every file below a path.
pub(super) fn below(state: &State, opened: &str, path: &str) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
    let gone = || EngineError::NotFound(format!("No such container: {opened}"));
    let container = state.containers.iter().find(|container| container.id == opened).ok_or_else(gone)?;
    let image = container.image.and_then(|id| state.images.get(&id)).ok_or_else(gone)?;
    let root = path.trim_end_matches('/');
    let inside = |name: &str| name == root || name.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    let all = image.image.layers.iter().flat_map(|layer| layer.files.iter());
    let files: Vec<_> = all.filter(|(name, _)| inside(name)).cloned().collect();
    if files.is_empty() {
        return Err(EngineError::NotFound(format!("Could not find the file {path} in container {opened}")));
    }
    Ok(files)
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
