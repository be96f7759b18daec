//! `POST /containers/create`, `GET /containers/{id}/archive`, `DELETE /containers/{id}`: reading an image without starting
//! anything.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use futures_util::StreamExt;
use futures_util::stream;
use layerkeeper_core::Reference;

use super::images;
use super::session::{self, Session};
use crate::EngineError;
use crate::contents::{Bytestream, Kind, LABEL};

/// What the engine says of a path that leads nowhere, beside 404: below a file, and along links that go in circles, by its own
/// count or by the kernel's.
const LEADS_NOWHERE: [&str; 3] = ["not a directory", "too many links", "too many levels of symbolic links"];

/// The command of these containers; there is no such program, so that nobody can start them either.
const COMMAND: &str = "never-started";

/// Makes the container; its id.
///
/// What an image declares as a volume the engine would copy to its disk at once. A mount of another kind at that place makes
/// it leave that, and one in memory is not there before a start: what the image has below it is read where it lies.
pub(super) async fn open(session: &Session, image: &Reference, owner: &str) -> Result<String, EngineError> {
    let volumes = images::volumes(session, image).await?;
    let mount = |target: String| Mount { target: Some(target), typ: Some(MountType::TMPFS), ..Mount::default() };
    let body = ContainerCreateBody {
        image: Some(image.to_string()),
        // an image need not have a command, and the engine wants one
        cmd: Some(vec![COMMAND.to_owned()]),
        entrypoint: Some(Vec::new()),
        labels: Some(HashMap::from([(LABEL.to_owned(), owner.to_owned())])),
        host_config: Some(HostConfig {
            mounts: Some(volumes.into_iter().map(mount).collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let made = session
        .quick(|client| {
            let body = body.clone();
            async move { client.create_container(None, body).await }
        })
        .await?;
    Ok(made.id)
}

/// A path in it, as an archive.
pub(super) async fn archive(session: &Session, id: &str, path: &str) -> Result<Bytestream, EngineError> {
    let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
    let client = session.client().await?;
    let mut chunks = client.download_from_container(id, Some(options)).boxed();
    let failed = |error| session.failure(error);
    match tokio::time::timeout(session::QUICK_LIMIT, chunks.next()).await {
        Err(_) => Err(session.silent(session::QUICK_LIMIT)),
        Ok(Some(Err(error))) => Err(failed(error)),
        Ok(first) => {
            let rest = tokio_stream::StreamExt::timeout(chunks, session::QUICK_LIMIT).map(|chunk| match chunk {
                Ok(chunk) => chunk.map_err(|error| EngineError::BrokenOff(session::chain(&error))),
                Err(_) => Err(EngineError::BrokenOff(format!("nothing came for {} s", session::QUICK_LIMIT.as_secs()))),
            });
            let first = first.and_then(Result::ok).map(Ok);
            Ok(stream::iter(first).chain(rest).boxed())
        }
    }
}

/// What lies at a path in it.
pub(super) async fn stat(session: &Session, id: &str, path: &str) -> Result<Option<Kind>, EngineError> {
    let options = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
    let told = session.quick(|client| {
        let options = options.clone();
        async move { client.get_container_archive_info(id, Some(options)).await }
    });
    match told.await {
        Ok(stat) => Ok(Some(kind(stat.file_mode, stat.link_target))),
        Err(EngineError::NotFound(_)) => Ok(None),
        // the answer to HEAD has no body that says why; the one to GET has
        Err(EngineError::Other(_)) => match archive(session, id, path).await {
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(EngineError::Other(why)) if LEADS_NOWHERE.iter().any(|words| why.contains(words)) => Ok(None),
            Err(error) => Err(error),
            Ok(_) => Err(EngineError::Other(format!("it cannot tell what {path} is"))),
        },
        Err(error) => Err(error),
    }
}

/// The engine tells the mode in the bits of Go's `fs.FileMode`.
fn kind(mode: u32, target: String) -> Kind {
    const DIRECTORY: u32 = 1 << 31;
    const LINK: u32 = 1 << 27;
    const SPECIAL: u32 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
    match mode {
        mode if mode & DIRECTORY != 0 => Kind::Directory,
        mode if mode & LINK != 0 => Kind::Link(target),
        mode if mode & SPECIAL != 0 => Kind::Special,
        _ => Kind::File,
    }
}

/// Removes it. One that is gone already is no error.
pub(super) async fn close(session: &Session, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::new().v(true).build();
    let removed = session
        .call(session::REMOVE_LIMIT, |client| {
            let options = options.clone();
            async move { client.remove_container(id, Some(options)).await }
        })
        .await;
    match removed {
        Err(EngineError::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// Those that are left, by an end of the daemon in between. The label alone does not make it ours, for an image may hand it on.
pub(super) async fn left_open(session: &Session, owner: &str) -> Result<Vec<String>, EngineError> {
    let filters = HashMap::from([
        ("label".to_owned(), vec![format!("{LABEL}={owner}")]),
        // never started, or what a removal that failed left of it
        ("status".to_owned(), vec!["created".to_owned(), "dead".to_owned()]),
    ]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let rows = session
        .quick(|client| {
            let options = options.clone();
            async move { client.list_containers(Some(options)).await }
        })
        .await?;
    let ours = rows.into_iter().filter(|row| row.command.as_deref() == Some(COMMAND));
    Ok(ours.filter_map(|row| row.id).collect())
}
