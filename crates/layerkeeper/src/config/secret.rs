//! Files that nobody else may read.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::problem::Wrong;

/// A secret is short; what is longer is another file.
const MOST: u64 = 64 * 1024;

/// Reads a small file that no other user may read.
///
/// # Errors
/// Missing, unreadable, not a file, open to everybody, empty or too long. Never names the content.
pub fn read_private(path: &Path) -> Result<Vec<u8>, Wrong> {
    let shown = path.display();
    let cannot = |error: &std::io::Error| {
        let right = format!("make sure that {shown} exists and that the daemon's user may read it");
        Wrong::new(format!("{shown} cannot be read: {error}"), right)
    };
    let file = File::open(path).map_err(|error| cannot(&error))?;
    // asked of the open file: the name may point elsewhere a moment later
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    if !metadata.is_file() {
        return Err(Wrong::new(format!("{shown} is not a regular file"), "name a file"));
    }
    if metadata.permissions().mode() & 0o007 != 0 {
        let mode = metadata.permissions().mode() & 0o777;
        return Err(Wrong::new(
            format!("{shown} is open to every user of this machine (mode {mode:04o})"),
            format!("run `chmod o= {shown}` and change the secret if others may have seen it"),
        ));
    }
    let mut content = Vec::new();
    let read = file.take(MOST + 1).read_to_end(&mut content).map_err(|error| cannot(&error))?;
    if read as u64 > MOST {
        return Err(Wrong::new(format!("{shown} is longer than 64 KiB"), "name the file that holds the secret alone"));
    }
    if content.trim_ascii().is_empty() {
        return Err(Wrong::new(format!("{shown} is empty"), "fill it, for example with `openssl rand -base64 32`"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_that_only_owner_and_group_may_read_is_read() {
        let (_directory, path) = file(b"0123456789abcdef\n", 0o640);
        assert_eq!(read_private(&path).unwrap(), b"0123456789abcdef\n");
    }

    #[test]
    fn whatever_others_may_do_with_it_is_too_much() {
        for mode in [0o644, 0o602, 0o601] {
            let (_directory, path) = file(b"hunter2", mode);
            let wrong = read_private(&path).unwrap_err();
            assert!(wrong.wrong.contains(&format!("mode {mode:04o}")), "{wrong:?}");
            assert!(!format!("{wrong:?}").contains("hunter2"));
        }
    }

    #[test]
    fn missing_empty_too_long_and_not_a_file_say_so() {
        let (directory, path) = file(b" \n", 0o600);
        assert!(read_private(&path).unwrap_err().wrong.ends_with("is empty"));
        assert!(read_private(&directory.path().join("none")).unwrap_err().wrong.contains("No such file"));
        assert!(read_private(directory.path()).unwrap_err().wrong.contains("not a regular file"));
        let (_directory, path) = file(&vec![b'x'; MOST as usize + 1], 0o600);
        assert!(read_private(&path).unwrap_err().wrong.contains("longer than 64 KiB"));
    }
}
