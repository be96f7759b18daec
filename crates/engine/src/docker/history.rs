//! `GET /images/{id}/history`, lined up with the image's layers.
//!
//! The engine lists the newest first, metadata instructions included, and does not say which entries made a layer; those
//! that did not have size 0, but so has a layer that changed nothing.

use bollard::models::ImageHistoryResponseItem;
use layerkeeper_core::Bytes;

use self::Choice::{All, OnlyFull, WithoutMetadata, WithoutWorkdir};

/// Instructions that never make a layer (Dockerfile reference).
const METADATA: [&str; 14] = [
    "ENV",
    "CMD",
    "LABEL",
    "ENTRYPOINT",
    "EXPOSE",
    "USER",
    "VOLUME",
    "ARG",
    "MAINTAINER",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "SHELL",
    "ONBUILD",
    "FROM",
];

/// The unpacked size of each of `layers` layers, bottom first; empty where the entries cannot be lined up.
pub(super) fn layer_bytes(history: &[ImageHistoryResponseItem], layers: usize) -> Vec<Bytes> {
    let entries = [All, WithoutMetadata, WithoutWorkdir, OnlyFull].map(|choice| choose(history, &choice));
    entries.into_iter().find(|sizes| sizes.len() == layers).unwrap_or_default()
}

/// Which entries are taken for layers; tried in this order until as many are left as there are layers.
enum Choice {
    All,
    WithoutMetadata,
    /// `WORKDIR` makes a layer only where the folder was not there before.
    WithoutWorkdir,
    OnlyFull,
}

fn choose(history: &[ImageHistoryResponseItem], choice: &Choice) -> Vec<Bytes> {
    let is_layer = |item: &&ImageHistoryResponseItem| {
        let word = instruction(&item.created_by);
        item.size != 0
            || match choice {
                All => true,
                WithoutMetadata => !METADATA.contains(&word),
                WithoutWorkdir => word != "WORKDIR" && !METADATA.contains(&word),
                OnlyFull => false,
            }
    };
    history.iter().rev().filter(is_layer).map(|item| Bytes(item.size.try_into().unwrap_or(0))).collect()
}

/// `/bin/sh -c #(nop)  ENV A=b` by the classic builder, `ENV A=b` by BuildKit.
fn instruction(created_by: &str) -> &str {
    let text = created_by.split_once("#(nop)").map_or(created_by, |(_, rest)| rest);
    text.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newest first, as the engine lists them.
    fn history(entries: &[(i64, &str)]) -> Vec<ImageHistoryResponseItem> {
        let item = |(size, created_by): &(i64, &str)| ImageHistoryResponseItem {
            size: *size,
            created_by: (*created_by).to_owned(),
            ..ImageHistoryResponseItem::default()
        };
        entries.iter().map(item).collect()
    }

    fn sizes(entries: &[(i64, &str)], layers: usize) -> Vec<u64> {
        layer_bytes(&history(entries), layers).iter().map(|bytes| bytes.0).collect()
    }

    #[test]
    fn sizes_come_bottom_first_and_without_metadata() {
        let classic = [
            (0, "/bin/sh -c #(nop)  CMD [\"a\"]"),
            (7, "/bin/sh -c pip install"),
            (5, "/bin/sh -c #(nop) ADD file:0 in / "),
        ];
        assert_eq!(sizes(&classic, 2), [5, 7]);
        let buildkit =
            [(0, "CMD [\"a\"]"), (0, "WORKDIR /app"), (7, "RUN x # buildkit"), (0, "ENV A=b"), (5, "ADD x /")];
        assert_eq!(sizes(&buildkit, 3), [5, 7, 0], "the working folder made a layer");
        assert_eq!(sizes(&buildkit, 2), [5, 7], "the working folder was there");
    }

    #[test]
    fn an_empty_layer_among_full_ones_keeps_its_place() {
        assert_eq!(sizes(&[(7, "RUN b"), (0, "RUN true"), (0, "LABEL x=y"), (5, "ADD x /")], 3), [5, 0, 7]);
        assert_eq!(sizes(&[(7, ""), (0, ""), (5, "")], 3), [5, 0, 7], "as many entries as layers");
    }

    #[test]
    fn what_cannot_be_lined_up_is_unknown() {
        assert!(sizes(&[(7, "RUN b")], 3).is_empty(), "squashed, or imported without a history");
        assert!(sizes(&[(7, "RUN b"), (5, "RUN a"), (4, "ADD x /")], 2).is_empty());
        assert!(sizes(&[], 1).is_empty());
    }
}
