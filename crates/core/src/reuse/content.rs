//! Which files of a layer stand in another image under the same path with the same content.
//!
//! Neither image is kept: of every file there is a mark of 40 bytes, so that a layer of half a million files takes about
//! 30 MB of memory, however many gigabytes they have.

use std::collections::HashMap;

use crate::bytes::Bytes;
use crate::digest::Digest;

/// Half of a SHA-256: of a path, or of a file's content. 128 bits are enough to tell files apart that nobody forged, and a
/// forged one would only make a report wrong.
type Mark = [u8; 16];

fn mark(digest: &Digest) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&digest.as_bytes()[..16]);
    mark
}

/// The files of an image below some path.
#[derive(Debug, Clone)]
pub struct Catalogue {
    files: HashMap<Mark, (u64, Mark)>,
    most: usize,
    cut_off: bool,
}

impl Catalogue {
    /// Empty, with room for so many files.
    pub fn of_at_most(most: usize) -> Self {
        Self { files: HashMap::new(), most, cut_off: false }
    }

    /// One file more, where there is room for it.
    pub fn add(&mut self, path: &str, size: u64, content: &Digest) {
        if self.files.len() >= self.most {
            self.cut_off = true;
            return;
        }
        self.files.insert(mark(&Digest::of(path.as_bytes())), (size, mark(content)));
    }

    /// There was no room for some file: it says nothing of the whole, even where others were taken out since.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// Is this file in it, with this content?
    pub fn has(&self, path: &str, size: u64, content: &Digest) -> bool {
        self.files.get(&mark(&Digest::of(path.as_bytes()))) == Some(&(size, mark(content)))
    }

    /// Takes a file out, where it is in it with this content.
    pub fn drop_same(&mut self, path: &str, size: u64, content: &Digest) {
        if self.has(path, size, content) {
            self.files.remove(&mark(&Digest::of(path.as_bytes())));
        }
    }

    /// Bytes in its files.
    pub fn bytes(&self) -> Bytes {
        self.files.values().map(|(size, _)| Bytes(*size)).sum()
    }

    /// How many files it has.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// What a layer has in common with another image, counted file by file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Common {
    /// Bytes in the layer's files.
    pub total: Bytes,
    /// Bytes in those that the other image has, too.
    pub repeated: Bytes,
    /// The layer's files.
    pub files: u64,
    /// Those that the other image has, too.
    pub repeated_files: u64,
}

impl Common {
    /// Nothing so far, of all the layer's files.
    pub fn of(layer: &Catalogue) -> Self {
        Self { total: layer.bytes(), files: layer.len() as u64, ..Self::default() }
    }

    /// One file that both have.
    pub fn repeats(&mut self, size: u64) {
        self.repeated += Bytes(size);
        self.repeated_files += 1;
    }
}

/// Where an instruction puts its files: an absolute path. None for one that copies nothing, or to a place that depends on
/// the working directory; none for the root, below which everything is; and none for a place with `..` in it, which may lead
/// through a link.
///
/// As the builders write them into the history: `COPY --from=python /opt/venv /opt/venv # buildkit`, and
/// `/bin/sh -c #(nop) COPY dir:0123 in /opt/venv` by the classic one.
pub fn destination(instruction: &str) -> Option<String> {
    let text = instruction.split_once("#(nop)").map_or(instruction, |(_, rest)| rest).trim();
    let text = text.strip_suffix("# buildkit").unwrap_or(text).trim();
    let mut words = text.split_whitespace();
    if !matches!(words.next(), Some("COPY" | "ADD")) {
        return None;
    }
    let places: Vec<&str> = words.filter(|word| !word.starts_with("--") && *word != "in").collect();
    let (last, sources) = places.split_last()?;
    if !last.starts_with('/') || sources.is_empty() {
        return None;
    }
    let parts: Vec<&str> = last.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_path_size_and_content() {
        let mut other = Catalogue::of_at_most(9);
        let torch = Digest::of(b"torch");
        other.add("/opt/venv/torch.so", 5, &torch);
        assert!(other.has("/opt/venv/torch.so", 5, &torch));
        assert!(!other.has("/opt/torch.so", 5, &torch), "another path");
        assert!(!other.has("/opt/venv/torch.so", 5, &Digest::of(b"torch2")), "another content");
        assert!(!other.has("/opt/venv/torch.so", 6, &torch));
        assert_eq!((other.len(), other.is_empty()), (1, false));
    }

    #[test]
    fn what_is_common_is_counted_in_files_and_bytes() {
        let mut layer = Catalogue::of_at_most(9);
        let (torch, pip, base) = (Digest::of(b"torch"), Digest::of(b"pip"), Digest::of(b"base"));
        layer.add("/opt/torch.so", 100, &torch);
        layer.add("/opt/pip", 7, &pip);
        layer.add("/opt/base", 50, &base);
        layer.drop_same("/opt/base", 50, &base);
        layer.drop_same("/opt/pip", 7, &torch);
        let mut common = Common::of(&layer);
        common.repeats(100);
        let wanted = Common { total: Bytes(107), repeated: Bytes(100), files: 2, repeated_files: 1 };
        assert_eq!(common, wanted);
    }

    #[test]
    fn a_catalogue_that_had_no_room_for_a_file_stays_cut_off_whatever_is_taken_out() {
        let mut layer = Catalogue::of_at_most(2);
        let content = Digest::of(b"x");
        layer.add("/a", 1, &content);
        layer.add("/b", 1, &content);
        assert!(!layer.is_cut_off());
        layer.add("/c", 1, &content);
        assert_eq!((layer.len(), layer.is_cut_off()), (2, true));
        layer.drop_same("/a", 1, &content);
        layer.drop_same("/b", 1, &content);
        assert!(layer.is_empty() && layer.is_cut_off());
    }

    #[test]
    fn the_place_is_read_out_of_both_builders_words() {
        let place = |text: &str| destination(text);
        assert_eq!(place("COPY --from=python-deps /opt/venv /opt/venv # buildkit").as_deref(), Some("/opt/venv"));
        assert_eq!(place("COPY --chown=1:1 a b /app/ # buildkit").as_deref(), Some("/app"));
        assert_eq!(place("/bin/sh -c #(nop) COPY dir:0123 in /opt/venv ").as_deref(), Some("/opt/venv"));
        assert_eq!(place("COPY a b /srv//./app/. # buildkit").as_deref(), Some("/srv/app"));
        assert_eq!(place("COPY a /..data/b... # buildkit").as_deref(), Some("/..data/b..."));
        let root = [
            "/bin/sh -c #(nop) ADD file:0123 in / ",
            "COPY --from=build /out / # buildkit",
            "COPY a //",
            "COPY a /.",
            "COPY . /./ # buildkit",
            "COPY a /srv/..",
            "COPY a /srv/../app",
        ];
        for other in root.into_iter().chain([
            "RUN pip install torch",
            "COPY . .",
            "COPY a ./b # buildkit",
            "COPY /opt",
            "ENV A=b",
            "",
        ]) {
            assert_eq!(place(other), None, "{other}");
        }
    }
}
