//! A job's progress, while somebody watches.

pub mod bars;
pub mod lines;

use std::io::IsTerminal;

use layerkeeper_keeper::{Phase, Progress};

use crate::render::table::plain;

/// Somebody who watches a job.
pub trait Watcher {
    /// The job's state of the moment.
    fn see(&mut self, progress: &Progress);

    /// A sentence between two states.
    fn note(&mut self, sentence: &str);

    /// Nothing follows: the report comes next.
    fn leave(&mut self);
}

/// Bars on a terminal, else lines; both on standard error, so that standard output holds the report alone.
pub fn watcher() -> Box<dyn Watcher> {
    if std::io::stderr().is_terminal() { Box::new(bars::Bars::new()) } else { Box::new(lines::Printer::default()) }
}

/// What the job does, in words; how it ended, once it has.
pub fn doing(progress: &Progress) -> String {
    match progress.phase {
        Phase::Waiting => "waiting in the queue",
        Phase::Observing => "looking at engine and registry",
        Phase::Keeping => "refreshing the kept images",
        Phase::Pulling => "pulling",
        Phase::Verifying => "verifying what came",
        Phase::Pruning => "removing old tags",
        Phase::Done => return plain(&progress.state),
    }
    .to_owned()
}
