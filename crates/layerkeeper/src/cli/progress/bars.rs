//! Progress as one bar per layer, on a terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use layerkeeper_keeper::{LayerLine, Progress};

use super::lines::from;
use super::{Watcher, doing};
use crate::render::table::plain;

/// What the job does, and below it a bar per layer of the image being pulled.
pub struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    image: Option<String>,
    layers: BTreeMap<String, ProgressBar>,
}

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Bars {
    /// An empty screen.
    pub fn new() -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner());
        head.enable_steady_tick(Duration::from_millis(120));
        Self { all, head, image: None, layers: BTreeMap::new() }
    }

    fn layer(&mut self, line: &LayerLine) {
        let all = &self.all;
        let bar = self.layers.entry(line.id.clone()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new(0));
            bar.set_style(style(QUIET));
            bar.set_prefix(plain(&line.id));
            bar
        });
        bar.set_message(plain(&line.status) + &from(line));
        // what was here has no size in the stream, and what waits has none yet
        let Some(total) = line.total else { return };
        bar.set_style(style(MOVING));
        bar.set_length(total);
        bar.set_position(if line.status == "complete" { total } else { line.current });
    }
}

const QUIET: &str = "  {prefix} {msg}";
const MOVING: &str = "  {prefix} [{bar:24}] {decimal_bytes:>10}/{decimal_total_bytes:<10} {msg}";

fn style(template: &str) -> ProgressStyle {
    let fallback = ProgressStyle::default_bar();
    ProgressStyle::with_template(template).map_or(fallback, |style| style.progress_chars("=> "))
}

impl Watcher for Bars {
    fn see(&mut self, progress: &Progress) {
        if self.image != progress.image {
            for bar in std::mem::take(&mut self.layers).into_values() {
                self.all.remove(&bar);
            }
            self.image.clone_from(&progress.image);
        }
        let image = progress.image.as_deref().map(plain).unwrap_or_default();
        self.head.set_message(format!("{} {image}", doing(progress)));
        for line in &progress.layers {
            self.layer(line);
        }
    }

    fn note(&mut self, sentence: &str) {
        // a terminal that went away draws nothing more
        let _ = self.all.println(plain(sentence));
    }

    fn leave(&mut self) {
        self.head.finish_and_clear();
        let _ = self.all.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_are_ones_that_indicatif_can_read() {
        for template in [QUIET, MOVING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
