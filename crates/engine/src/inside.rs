//! What is in an image, read through a container that is never started: what somebody expects of it, or every file.

use layerkeeper_core::Reference;
use layerkeeper_core::expect::{Expect, Found, Inside, Package, packages};

use crate::contents::{self, File, Kind, every_file};
use crate::{Engine, EngineError};

/// dpkg's database.
const DATABASE: &str = "/var/lib/dpkg/status";
/// A file for each package, in images that were made without running dpkg.
const DATABASES: &str = "/var/lib/dpkg/status.d";
/// A whole desktop's is of 10 MB.
const MOST: u64 = 64 << 20;
/// Links to links, as many as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;

/// Looks for what is expected. What it opens under `owner` it closes again; where the engine does not let it, what was read
/// counts all the same, and `left` is told the container's id and why, for somebody to remove it later.
///
/// # Errors
/// The engine's; [`EngineError::NotFound`] where there is no such image, and [`EngineError::ReadingLost`] where somebody
/// removed the container meanwhile.
pub async fn look(
    engine: &dyn Engine,
    image: &Reference,
    owner: &str,
    expect: &[Expect],
    left: impl FnOnce(&str, EngineError) + Send,
) -> Result<Inside, EngineError> {
    let mut inside = Inside::default();
    if expect.iter().any(|one| matches!(one, Expect::Label { .. })) {
        inside.labels = engine.labels(image).await?;
    }
    if expect.iter().all(|one| matches!(one, Expect::Label { .. })) {
        return Ok(inside);
    }
    let opened = engine.open(image, owner).await?;
    let read = read(engine, &opened, expect, &mut inside).await;
    let read = lasting(engine, &opened, read).await;
    if let Err(error) = engine.close(&opened).await {
        left(&opened, error);
    }
    read.map(|()| inside)
}

/// Shows every file below a path of an opened image; none where it has no such path.
///
/// # Errors
/// The engine's, those of [`contents::files`], and [`EngineError::ReadingLost`] where somebody removed the container meanwhile.
pub async fn files(
    engine: &dyn Engine,
    opened: &str,
    path: &str,
    seen: impl FnMut(File) + Send,
) -> Result<(), EngineError> {
    let read = async {
        match engine.stat(opened, path).await? {
            None => Ok(()),
            Some(_) => contents::files(path, engine.archive(opened, path).await?, seen).await,
        }
    };
    let read = read.await;
    lasting(engine, opened, read).await
}

/// Removes what a reading under this name that was broken off left open: all that goes.
///
/// # Errors
/// The engine's last one.
pub async fn close_left(engine: &dyn Engine, owner: &str) -> Result<(), EngineError> {
    let mut closed = Ok(());
    for left in engine.left_open(owner).await? {
        match engine.close(&left).await {
            Ok(()) => {}
            Err(error @ EngineError::Unreachable { .. }) => return Err(error),
            Err(error) => closed = Err(error),
        }
    }
    closed
}

/// What was read, if the container is still there at the end. Anybody may remove one that never ran (`docker container prune`),
/// and then nothing is found at any path, as in an image that lacks everything.
async fn lasting(engine: &dyn Engine, opened: &str, read: Result<(), EngineError>) -> Result<(), EngineError> {
    if let Err(EngineError::Unreachable { .. }) = read {
        return read;
    }
    match (engine.stat(opened, "/").await, read) {
        // that it is not found must not be said of the image
        (Ok(Some(Kind::Directory)), Err(EngineError::NotFound(why))) => Err(EngineError::Other(why)),
        (Ok(Some(Kind::Directory)), read) => read,
        (Ok(_), _) => Err(EngineError::ReadingLost(opened.chars().take(12).collect())),
        (Err(error), _) => Err(error),
    }
}

async fn read(engine: &dyn Engine, opened: &str, expect: &[Expect], inside: &mut Inside) -> Result<(), EngineError> {
    for one in expect {
        match one {
            Expect::Package { .. } if inside.packages.is_none() => inside.packages = installed(engine, opened).await?,
            Expect::File { path } if !inside.paths.contains_key(path) => {
                let (_, found) = find(engine, opened, path).await?;
                inside.paths.insert(path.clone(), found);
            }
            Expect::Package { .. } | Expect::File { .. } | Expect::Label { .. } => {}
        }
    }
    Ok(())
}

/// The path without its links, and what lies there.
async fn find(engine: &dyn Engine, opened: &str, path: &str) -> Result<(String, Found), EngineError> {
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        let found = match engine.stat(opened, &at).await? {
            Some(Kind::Link(target)) if target != at => {
                at = target;
                continue;
            }
            Some(Kind::File) => Found::File,
            Some(Kind::Directory) => Found::Directory,
            Some(Kind::Special) => Found::Special,
            Some(Kind::Link(_)) | None => Found::Nothing((at != path).then(|| at.clone())),
        };
        return Ok((at, found));
    }
    Ok((at.clone(), Found::Nothing(Some(at))))
}

/// What dpkg says is installed; none where the image has no database.
async fn installed(engine: &dyn Engine, opened: &str) -> Result<Option<Vec<Package>>, EngineError> {
    let mut all = None;
    for (database, kind) in [(DATABASE, Found::File), (DATABASES, Found::Directory)] {
        let (at, found) = find(engine, opened, database).await?;
        if found != kind {
            continue;
        }
        let files = every_file(engine.archive(opened, &at).await?, MOST).await?;
        let read = files.iter().flat_map(|file| packages(&String::from_utf8_lossy(file)));
        all.get_or_insert_with(Vec::new).extend(read);
    }
    Ok(all)
}
