//! The configuration's file, replaced as a whole or not at all.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::cli::trouble::Trouble;

/// A file as it was read.
pub(super) struct Original {
    /// As it was named.
    named: PathBuf,
    /// What that is, symbolic links followed.
    target: PathBuf,
    metadata: Metadata,
    /// What it holds.
    pub text: String,
}

impl Original {
    /// Reads it.
    pub fn read(named: &Path) -> Result<Self, Trouble> {
        let read = || -> io::Result<Self> {
            let target = named.canonicalize()?;
            let (text, metadata) = (fs::read_to_string(&target)?, target.metadata()?);
            Ok(Self { named: named.to_owned(), target, metadata, text })
        };
        read().map_err(|error| Trouble::Usage(format!("{}: cannot be read: {error}", named.display())))
    }

    /// Puts `text` in its place, with its mode and owner: a reader finds the old file or the new one, after a power cut,
    /// too. Not where somebody else has changed it since it was read.
    pub fn replace(&self, text: &str) -> Result<(), Trouble> {
        // a file that is read-only for us is meant so, even where its directory would let us replace it
        OpenOptions::new().write(true).open(&self.target).map_err(|error| self.not_writable(&self.target, &error))?;
        let directory = self.target.parent().unwrap_or(Path::new("/"));
        let name = self.target.file_name().unwrap_or_default().to_string_lossy();
        let beside = directory.join(format!(".{name}.{}.new", std::process::id()));
        let written = self.write(&beside, text).map_err(|error| self.not_writable(&beside, &error));
        let done = written
            .and_then(|()| self.check_unchanged())
            .and_then(|()| fs::rename(&beside, &self.target).map_err(|error| self.not_writable(&self.target, &error)));
        if done.is_err() {
            // what cannot be removed was never made, or will be seen beside its original
            let _ = fs::remove_file(&beside);
            return done;
        }
        // the new file is in place, and only a power cut in this moment could bring the old one back
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }

    fn write(&self, beside: &Path, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (self.metadata.uid(), self.metadata.gid()) {
            fchown(&file, Some(self.metadata.uid()), Some(self.metadata.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        // after the owner: a change of it may take bits away
        file.set_permissions(Permissions::from_mode(self.metadata.mode() & 0o7777))?;
        file.sync_all()
    }

    fn check_unchanged(&self) -> Result<(), Trouble> {
        let same = self.named.canonicalize().is_ok_and(|target| target == self.target)
            && fs::read(&self.target).is_ok_and(|now| now == self.text.as_bytes());
        if same {
            return Ok(());
        }
        let cause =
            format!("{} was changed by somebody else meanwhile; nothing was written. Try again", self.named.display());
        Err(Trouble::Passing { cause, retry_after: None })
    }

    fn not_writable(&self, what: &Path, error: &io::Error) -> Trouble {
        let beside = if what == self.target { String::new() } else { format!(" ({})", what.display()) };
        Trouble::Failed(format!(
            "{}: cannot be written by {}: {error}{beside}; nothing was changed",
            self.target.display(),
            user()
        ))
    }
}

/// Who we are, as `/etc/passwd` names it.
fn user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_it = |line: &&str| line.split(':').nth(2).is_some_and(|id| id.parse() == Ok(uid));
    match users.lines().find(is_it).and_then(|line| line.split(':').next()) {
        Some(name) => format!("the user {name} (uid {uid})"),
        None => format!("the user with uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.toml");
        fs::write(&file, text).unwrap();
        (directory, file)
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_keeps_its_mode_and_a_symbolic_link_stays_one() {
        let (directory, file) = written("old");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let link = directory.path().join("link.toml");
        std::os::unix::fs::symlink("a.toml", &link).unwrap();
        let before = file.metadata().unwrap();
        Original::read(&link).unwrap().replace("new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.is_symlink(), "the target was replaced, not the link");
        let after = file.metadata().unwrap();
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert_ne!(after.ino(), before.ino(), "never in place: a reader sees the old or the new one");
        assert_eq!(names(directory.path()), ["a.toml", "link.toml"], "nothing is left behind");
    }

    #[test]
    fn a_file_that_was_changed_meanwhile_is_left_alone() {
        let (directory, file) = written("old");
        let original = Original::read(&file).unwrap();
        fs::write(&file, "another hand").unwrap();
        let trouble = original.replace("new").unwrap_err();
        assert!(trouble.is_transient() && trouble.to_string().contains("changed by somebody else"), "{trouble}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "another hand");
        assert_eq!(names(directory.path()), ["a.toml"]);
    }

    #[test]
    fn a_link_that_points_elsewhere_meanwhile_is_a_change_too() {
        let (directory, file) = written("same");
        let (link, other) = (directory.path().join("link.toml"), directory.path().join("b.toml"));
        fs::write(&other, "same").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let original = Original::read(&link).unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(original.replace("new").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "same");
    }

    #[test]
    fn what_cannot_be_written_is_said_with_file_and_user_and_left_as_it_was() {
        let (directory, file) = written("old");
        let original = Original::read(&file).unwrap();
        // root may write whatever the mode says, but nobody beside a name that is too long
        let long = directory.path().join("x".repeat(250));
        fs::rename(&file, &long).unwrap();
        let original = Original { target: long.clone(), named: long.clone(), ..original };
        let trouble = original.replace("new").unwrap_err();
        let said = trouble.to_string();
        assert!(said.contains(&long.display().to_string()) && said.contains("cannot be written by the user"), "{said}");
        assert_eq!(fs::read_to_string(&long).unwrap(), "old");
        assert_eq!(names(directory.path()).len(), 1);
    }
}
