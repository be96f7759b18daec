//! The control socket's file: made with its final mode and owner before anybody can see it, removed at the end.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;
use tracing::{info, warn};

use crate::error::HttpError;

/// The file; removed when dropped, unless another one has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: Option<u64>,
}

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let here = std::fs::symlink_metadata(&self.path).ok().map(|meta| meta.ino());
        if here.is_some()
            && here == self.inode
            && let Err(cause) = std::fs::remove_file(&self.path)
        {
            warn!(path = %self.path.display(), %cause, "cannot remove the control socket");
        }
    }
}

/// Binds it: 0660, and this group where one is given.
pub fn bind(path: PathBuf, gid: Option<u32>) -> Result<(UnixListener, SocketFile), HttpError> {
    let failed = |step: &'static str| {
        let path = path.clone();
        move |source: io::Error| HttpError::Socket { path, step, source }
    };
    clear(&path)?;
    // bound under another name first, for bind() makes the file with the process's umask, and whoever connects before
    // the mode is right stays connected
    let mut hidden = path.as_os_str().to_owned();
    hidden.push(format!(".{}", std::process::id()));
    let hidden = PathBuf::from(hidden);
    let _ = std::fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden).map_err(failed("bind it"))?;
    let finish = || {
        let own = std::fs::symlink_metadata(&hidden).map_err(failed("look at it"))?.gid();
        // a service runs with its group already, and then needs no right to change owners
        if gid.is_some_and(|gid| gid != own) {
            std::os::unix::fs::chown(&hidden, None, gid).map_err(failed("give it to its group"))?;
        }
        std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o660)).map_err(failed("set its mode"))?;
        let inode = std::fs::symlink_metadata(&hidden).ok().map(|meta| meta.ino());
        std::fs::rename(&hidden, &path).map_err(failed("put it in its place"))?;
        Ok(inode)
    };
    match finish() {
        Ok(inode) => Ok((listener, SocketFile { path: path.clone(), inode })),
        Err(error) => {
            let _ = std::fs::remove_file(&hidden);
            Err(error)
        }
    }
}

/// Makes way: nothing there, or a socket on which nobody answers.
fn clear(path: &Path) -> Result<(), HttpError> {
    let failed = |step| move |source| HttpError::Socket { path: path.to_owned(), step, source };
    match std::fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed("look at it")(cause)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(HttpError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(HttpError::SocketInUse { path: path.to_owned() }),
        // a full backlog is somebody, too
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
            Err(HttpError::SocketInUse { path: path.to_owned() })
        }
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
            info!(path = %path.display(), "replacing a control socket on which nobody answers");
            Ok(())
        }
        Err(cause) => Err(failed("see whether anybody answers on it")(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_has_its_mode_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let gid = std::fs::metadata(dir.path()).unwrap().gid();
        let (_listener, file) = bind(path.clone(), Some(gid)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left behind");
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_a_live_one_and_a_plain_file_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let (listener, first) = bind(path.clone(), None).unwrap();
        assert!(matches!(bind(path.clone(), None), Err(HttpError::SocketInUse { .. })));
        drop(listener);
        let (_listener, _second) = bind(path.clone(), None).unwrap();
        drop(first);
        assert!(path.exists(), "the first owner leaves the second one's file alone");
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "x").unwrap();
        assert!(matches!(bind(plain.clone(), None), Err(HttpError::NotASocket { .. })));
        assert!(plain.exists());
    }
}
