//! Files of this host, or of a tree that stands for it.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Longer files are no crontab, unit or script that somebody wrote.
const LONGEST: u64 = 256 * 1024;
/// More names in one folder are not looked at.
const MOST: usize = 2_000;

/// Where the host's files are: `/`, or a tree in a test.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

/// Reads files, and remembers which could not be read.
pub struct Files<'a> {
    root: &'a Root,
    /// `FILE: WHY`
    pub unread: Vec<String>,
}

impl Root {
    /// This folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// An absolute path, in there.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Is it this host's own, so that what runs here belongs to it?
    pub fn is_own(&self) -> bool {
        self.0 == Path::new("/")
    }
}

impl<'a> Files<'a> {
    /// Nothing is read yet.
    pub fn new(root: &'a Root) -> Self {
        Self { root, unread: Vec::new() }
    }

    /// A text file's content; none where there is none, or where it is no text.
    pub fn text(&mut self, path: &str) -> Option<String> {
        let file = self.root.at(path);
        match file.metadata() {
            // opening a FIFO would wait for its other end
            Ok(meta) if meta.is_file() && meta.len() <= LONGEST => {}
            Ok(_) => return None,
            Err(error) => {
                self.note(path, &error);
                return None;
            }
        }
        let mut bytes = Vec::new();
        let read = fs::File::open(file).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
        if let Err(error) = read {
            self.note(path, &error);
            return None;
        }
        (!bytes.contains(&0)).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a folder, sorted; none where there is no folder.
    pub fn names(&mut self, dir: &str) -> Vec<String> {
        let entries = match fs::read_dir(self.root.at(dir)) {
            Ok(entries) => entries,
            Err(error) => {
                self.note(dir, &error);
                return Vec::new();
            }
        };
        let mut names: Vec<String> =
            entries.take(MOST).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// May it be run?
    pub fn is_executable(&self, path: &str) -> bool {
        self.root.at(path).metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    }

    /// Is there anything of this name?
    pub fn is_there(&self, path: &str) -> bool {
        self.root.at(path).exists()
    }

    /// Where a link of this name leads to, as written.
    pub fn link(&self, path: &str) -> Option<PathBuf> {
        fs::read_link(self.root.at(path)).ok()
    }

    fn note(&mut self, path: &str, error: &std::io::Error) {
        // no file can have such a name: it was none
        let none = [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::InvalidFilename];
        if !none.contains(&error.kind()) {
            let note = format!("{path}: {error}");
            if !self.unread.contains(&note) {
                self.unread.push(note);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_cannot_even_be_looked_at_is_noted_once_and_what_is_not_there_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        // nobody can follow it, not even root, who may read all else
        symlink("loop", root.at("/loop")).unwrap();
        let mut files = Files::new(&root);
        for path in ["/loop", "/loop", "/none", &format!("/{}", "x".repeat(300))] {
            assert_eq!(files.text(path), None, "{path}");
        }
        assert!(files.unread.len() == 1 && files.unread[0].starts_with("/loop: "), "{:?}", files.unread);
    }
}
