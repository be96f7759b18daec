//! Progress as plain lines, for logs of CI and cron: a line where something changed, none where nothing did.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use layerkeeper_keeper::{LayerLine, Phase, Progress};

use super::{Watcher, doing};
use crate::render::amount::size;
use crate::render::table::plain;

/// While a layer downloads, the sum is told this often.
const EVERY: Duration = Duration::from_secs(10);

/// Turns states into lines.
#[derive(Debug, Default)]
pub struct Lines {
    phase: Option<Phase>,
    image: Option<String>,
    settled: BTreeMap<String, String>,
    told: Option<(Instant, u64)>,
}

/// Writes the lines to standard error.
#[derive(Debug, Default)]
pub struct Printer(Lines);

impl Lines {
    /// The lines that this state is worth.
    pub fn of(&mut self, progress: &Progress, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        let image = progress.image.as_deref().map(plain);
        if self.phase != Some(progress.phase) || self.image != image {
            if self.image != image {
                self.settled.clear();
            }
            self.phase = Some(progress.phase);
            self.image.clone_from(&image);
            self.told = Some((now, progress.moved_bytes));
            lines.push(match &image {
                Some(image) => format!("{} {image}", doing(progress)),
                None => doing(progress),
            });
        }
        for layer in &progress.layers {
            let settled = matches!(layer.status.as_str(), "reused" | "downloaded" | "complete");
            if !settled || self.settled.get(&layer.id) == Some(&layer.status) {
                continue;
            }
            let amount = layer.total.map(|total| format!(", {}", size(total))).unwrap_or_default();
            let from = if layer.status == "downloaded" { from(layer) } else { String::new() };
            lines.push(format!("  layer {}: {}{amount}{from}", plain(&layer.id), plain(&layer.status)));
            self.settled.insert(layer.id.clone(), layer.status.clone());
        }
        let (at, moved) = self.told.unwrap_or((now, 0));
        if now.duration_since(at) >= EVERY && progress.moved_bytes > moved {
            self.told = Some((now, progress.moved_bytes));
            lines.push(format!("  {} so far{}", size(progress.moved_bytes), pace(progress)));
        }
        lines
    }
}

/// How fast, and for how long yet.
pub(super) fn pace(progress: &Progress) -> String {
    let rate = progress.bytes_per_second.map(|rate| format!(", {}/s", size(rate))).unwrap_or_default();
    let left = progress.seconds_left.map(|seconds| format!(", {} left", duration(seconds))).unwrap_or_default();
    rate + &left
}

/// Where a layer's bytes came from, and how many from each where there is more than one.
pub(super) fn from(layer: &LayerLine) -> String {
    match layer.from.as_slice() {
        [] => String::new(),
        [one] => format!(" from {}", plain(&one.source)),
        many => {
            let given = many.iter().map(|from| format!("{} ({})", plain(&from.source), size(from.bytes)));
            format!(" from {}", given.collect::<Vec<_>>().join(", "))
        }
    }
}

fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

impl Printer {
    /// The lines that this state is worth now.
    pub fn lines(&mut self, progress: &Progress) -> Vec<String> {
        self.0.of(progress, Instant::now())
    }
}

impl Watcher for Printer {
    fn see(&mut self, progress: &Progress) {
        for line in self.lines(progress) {
            self.note(&line);
        }
    }

    fn note(&mut self, sentence: &str) {
        // who closed standard error does not want to know
        let _ = writeln!(std::io::stderr(), "{sentence}");
    }

    fn leave(&mut self) {}
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::JobState;
    use layerkeeper_store::record::SourceRecord;

    use super::*;

    fn pulling(moved: u64, layers: &[(&str, &str)]) -> Progress {
        Progress {
            phase: Phase::Pulling,
            image: Some("ghcr.io/acme/app:sha-2".to_owned()),
            layers: layers
                .iter()
                .map(|(id, status)| LayerLine {
                    id: (*id).to_owned(),
                    status: (*status).to_owned(),
                    current: moved,
                    total: Some(214_000_000),
                    from: Vec::new(),
                })
                .collect(),
            moved_bytes: moved,
            ..Progress::of_state(JobState::Running)
        }
    }

    #[test]
    fn the_pace_is_told_with_what_is_left() {
        let mut lines = Lines::default();
        let start = Instant::now();
        lines.of(&pulling(0, &[]), start);
        let moved = pulling(96_000_000, &[]).at_pace(Some(12_000_000.0), Some(984_000_000));
        let told = lines.of(&moved, start + std::time::Duration::from_secs(60));
        assert_eq!(told, ["  96.0 MB so far, 12.0 MB/s, 1 min 22 s left"]);
    }

    #[test]
    fn a_layer_is_told_with_whom_it_came_from() {
        let mut progress = pulling(214_000_000, &[("4d", "downloaded"), ("5e", "downloaded"), ("6f", "downloading")]);
        let gave = |source: &str, bytes| SourceRecord { source: source.to_owned(), bytes };
        progress.layers[0].from = vec![gave("mirror.lan:5000", 200_000_000), gave("ghcr.io", 14_000_000)];
        progress.layers[1].from = vec![gave("ghcr.io", 214_000_000)];
        progress.layers[2].from = vec![gave("ghcr.io", 1)];
        let lines = Lines::default().of(&progress, Instant::now());
        assert_eq!(
            lines[1..],
            [
                "  layer 4d: downloaded, 214 MB from mirror.lan:5000 (200 MB), ghcr.io (14.0 MB)",
                "  layer 5e: downloaded, 214 MB from ghcr.io"
            ]
        );
    }

    #[test]
    fn a_line_per_change_and_none_for_repetition() {
        let mut lines = Lines::default();
        let start = Instant::now();
        assert_eq!(lines.of(&Progress::of_state(JobState::Queued), start), ["waiting in the queue"]);
        assert_eq!(
            lines.of(&pulling(0, &[("1a", "reused"), ("4d", "waiting")]), start),
            ["pulling ghcr.io/acme/app:sha-2", "  layer 1a: reused, 214 MB"]
        );
        assert!(lines.of(&pulling(5, &[("1a", "reused"), ("4d", "downloading")]), start).is_empty());
        let later = start + EVERY;
        assert_eq!(
            lines.of(&pulling(7_000_000, &[("1a", "reused"), ("4d", "downloading")]), later),
            ["  7.00 MB so far"]
        );
        assert!(lines.of(&pulling(7_000_000, &[("1a", "reused")]), later + EVERY).is_empty(), "nothing moved");
        assert_eq!(lines.of(&pulling(214_000_000, &[("4d", "complete")]), later), ["  layer 4d: complete, 214 MB"]);
        assert_eq!(lines.of(&Progress::of_state(JobState::Succeeded), later), ["succeeded"]);
    }
}
