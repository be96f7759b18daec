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
#[derive(Debug, Clone, Default)]
pub struct Catalogue(HashMap<Mark, (u64, Mark)>);

impl Catalogue {
    /// One file more.
    pub fn add(&mut self, path: &str, size: u64, content: &Digest) {
        self.0.insert(mark(&Digest::of(path.as_bytes())), (size, mark(content)));
    }

    /// Is this file in it, with this content?
    pub fn has(&self, path: &str, size: u64, content: &Digest) -> bool {
        self.0.get(&mark(&Digest::of(path.as_bytes()))) == Some(&(size, mark(content)))
    }

    /// Takes a file out, where it is in it with this content.
    pub fn drop_same(&mut self, path: &str, size: u64, content: &Digest) {
        if self.has(path, size, content) {
            self.0.remove(&mark(&Digest::of(path.as_bytes())));
        }
    }

    /// Bytes in its files.
    pub fn bytes(&self) -> Bytes {
        self.0.values().map(|(size, _)| Bytes(*size)).sum()
    }

    /// How many files it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
/// the working directory; and none for the root, below which everything is.
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
    let place = last.trim_end_matches('/');
    (place.starts_with('/') && !sources.is_empty()).then(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_path_size_and_content() {
        let mut other = Catalogue::default();
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
        let mut layer = Catalogue::default();
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
    fn the_place_is_read_out_of_both_builders_words() {
        let place = |text: &str| destination(text);
        assert_eq!(place("COPY --from=python-deps /opt/venv /opt/venv # buildkit").as_deref(), Some("/opt/venv"));
        assert_eq!(place("COPY --chown=1:1 a b /app/ # buildkit").as_deref(), Some("/app"));
        assert_eq!(place("/bin/sh -c #(nop) COPY dir:0123 in /opt/venv ").as_deref(), Some("/opt/venv"));
        let root = ["/bin/sh -c #(nop) ADD file:0123 in / ", "COPY --from=build /out / # buildkit", "COPY a //"];
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
