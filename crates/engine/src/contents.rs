//! What is inside an image, read from the archives that an engine makes of a container that was never started
//! (`GET /containers/{id}/archive`). Nothing is unpacked and nothing kept: an archive passes by, file by file.

use std::io;

use bytes::Bytes as Chunk;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use layerkeeper_core::Digest;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt;
use tokio_tar::Archive;
use tokio_util::io::StreamReader;

use crate::EngineError;

/// An archive as it comes.
pub type Bytestream = BoxStream<'static, Result<Chunk, EngineError>>;

/// By this label a container that was made to read an image by is found again. Its value is the one that made it, and removes
/// what a crash left. It hides nothing: an image may have such a label, too, and hands it on.
pub const LABEL: &str = "io.layerkeeper.reading";

/// So much of a file is in memory at once.
const CHUNK: usize = 64 * 1024;

/// What lies at a path in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, with the absolute path that it leads to inside the image.
    Link(String),
    /// A device, a socket, a pipe.
    Special,
}

/// A regular file in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// From the image's root on, such as `/opt/venv/bin/python`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub digest: Digest,
}

/// Reads the archive of `root` (an absolute path in the image) to its end, and shows every regular file in it. A hard link
/// is no file of its own.
///
/// # Errors
/// The stream's, or [`EngineError::Malformed`] for what is no archive.
pub async fn files(root: &str, archive: Bytestream, mut seen: impl FnMut(File)) -> Result<(), EngineError> {
    let mut archive = Archive::new(StreamReader::new(archive.map_err(io::Error::other)));
    let mut entries = archive.entries().map_err(unreadable)?;
    let mut buffer = vec![0; CHUNK];
    while let Some(entry) = entries.next().await {
        let mut entry = entry.map_err(unreadable)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().map_err(unreadable)?.to_string_lossy().into_owned();
        let (mut hash, mut size) = (Sha256::new(), 0u64);
        loop {
            let length = entry.read(&mut buffer).await.map_err(unreadable)?;
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
            size += length as u64;
        }
        let digest = Digest::from_bytes(hash.finalize().into());
        seen(File { path: absolute(root, &path), size, digest });
    }
    Ok(())
}

/// The content of every regular file in an archive.
///
/// # Errors
/// As of [`files`]; [`EngineError::Malformed`] where they have more than `most` bytes in all.
pub async fn every_file(archive: Bytestream, most: u64) -> Result<Vec<Vec<u8>>, EngineError> {
    let mut archive = Archive::new(StreamReader::new(archive.map_err(io::Error::other)));
    let mut entries = archive.entries().map_err(unreadable)?;
    let (mut all, mut left) = (Vec::new(), most);
    while let Some(entry) = entries.next().await {
        let mut entry = entry.map_err(unreadable)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let mut content = Vec::new();
        let length = (&mut entry).take(left + 1).read_to_end(&mut content).await.map_err(unreadable)? as u64;
        left = left
            .checked_sub(length)
            .ok_or_else(|| EngineError::Malformed(format!("files of more than {most} bytes")))?;
        all.push(content);
    }
    Ok(all)
}

/// The engine names what is in `/opt/venv` as `venv/…`, and what is in `/` without more.
fn absolute(root: &str, path: &str) -> String {
    let above = root.trim_end_matches('/').rsplit_once('/').map_or("", |(above, _)| above);
    let below = path.trim_start_matches("./").trim_matches('/');
    format!("{above}/{below}")
}

/// An error of the stream itself comes wrapped.
fn unreadable(error: io::Error) -> EngineError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<EngineError>()) {
        Some(cause) => cause.clone(),
        None => EngineError::Malformed(format!("an archive out of a container: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    async fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tokio_tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tokio_tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, path, *content).await.unwrap();
        }
        builder.into_inner().await.unwrap()
    }

    /// In small pieces, as a connection brings them.
    fn streamed(bytes: &[u8]) -> Bytestream {
        let chunks: Vec<_> = bytes.chunks(700).map(|chunk| Ok(Chunk::copy_from_slice(chunk))).collect();
        stream::iter(chunks).boxed()
    }

    #[tokio::test]
    async fn every_file_is_shown_with_its_place_in_the_image() {
        let large = vec![7; 200_000];
        let bytes = packed(&[("venv/bin/python", b"#!"), ("venv/lib/torch.so", &large)]).await;
        let mut seen = Vec::new();
        files("/opt/venv", streamed(&bytes), |file| seen.push(file)).await.unwrap();
        let told: Vec<_> = seen.iter().map(|file| (file.path.as_str(), file.size, file.digest)).collect();
        assert_eq!(
            told,
            [("/opt/venv/bin/python", 2, Digest::of(b"#!")), ("/opt/venv/lib/torch.so", 200_000, Digest::of(&large))]
        );
    }

    #[test]
    fn places_are_told_from_the_root_on() {
        assert_eq!(absolute("/opt/venv", "venv/bin/x"), "/opt/venv/bin/x");
        assert_eq!(absolute("/app/", "app/x"), "/app/x");
        assert_eq!(absolute("/", "./etc/passwd"), "/etc/passwd");
        assert_eq!(absolute("/", "/etc/passwd"), "/etc/passwd");
    }

    #[tokio::test]
    async fn an_archive_that_breaks_off_is_an_error_and_so_is_what_is_none() {
        let bytes = packed(&[("a", &[1; 5000])]).await;
        let cut: Vec<_> = vec![Ok(Chunk::copy_from_slice(&bytes[..2000])), Err(EngineError::Unfinished)];
        let broken = files("/a", stream::iter(cut).boxed(), |_| {}).await;
        assert_eq!(broken, Err(EngineError::Unfinished));
        let nonsense = files("/a", streamed(&[b'x'; 1024]), |_| {}).await;
        assert!(matches!(nonsense, Err(EngineError::Malformed(_))), "{nonsense:?}");
    }

    #[tokio::test]
    async fn contents_are_read_up_to_a_size() {
        let bytes = packed(&[("status.d/a", &[b'x'; 60]), ("status.d/b", &[b'y'; 40])]).await;
        assert_eq!(every_file(streamed(&bytes), 100).await, Ok(vec![vec![b'x'; 60], vec![b'y'; 40]]));
        assert!(matches!(every_file(streamed(&bytes), 99).await, Err(EngineError::Malformed(_))));
        assert!(matches!(every_file(streamed(&bytes), 59).await, Err(EngineError::Malformed(_))));
    }
}
