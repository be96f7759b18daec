//! `layerkeeper doctor`: what is wrong with this host, why it matters, and what mends it.
//!
//! [`look`](look()) gathers and changes nothing, but for a container to read an image by; [`judge`] is pure, so that every judgement is tested with tables.

pub mod cleaners;
pub mod clock;
pub mod daemon;
pub mod disk;
pub mod engine;
pub mod finding;
pub mod host;
pub mod kept;
mod look;
pub mod path;
pub mod registry;
#[cfg(test)]
mod sample;
pub mod unit;

use layerkeeper_core::{ImageName, Inventory, Policy, Timestamp};

use cleaners::removes::newest;
use cleaners::{Cleaner, Stock};
use daemon::DaemonSeen;
use disk::Disk;
use engine::EngineSeen;
pub use finding::{Diagnosis, Finding, Level};
use host::HostSeen;
use kept::KeptSeen;
pub use look::{Root, look, missing, scheduled};
use path::PathSeen;
use registry::RegistrySeen;
use unit::UnitSeen;

/// All that was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub now: Timestamp,
    /// This program's version.
    pub version: String,
    /// What is wanted.
    pub policy: Policy,
    /// Where the engine should be.
    pub engine_host: String,
    /// The engine.
    pub engine: EngineSeen,
    /// What it holds; none where it did not answer.
    pub inventory: Option<Inventory>,
    /// The daemon.
    pub daemon: DaemonSeen,
    /// File systems.
    pub disks: Vec<Disk>,
    /// Every registry that the configuration names.
    pub registries: Vec<RegistrySeen>,
    /// The paths to those that could be measured.
    pub paths: Vec<PathSeen>,
    /// Every kept image.
    pub kept: Vec<KeptSeen>,
    /// Others that remove images.
    pub cleaners: Vec<Cleaner>,
    /// Where cleaners could not be looked for, and why.
    pub unread: Vec<String>,
    /// How the engine is set up.
    pub host: HostSeen,
    /// The daemon's unit.
    pub unit: UnitSeen,
}

/// Judges all of it.
pub fn judge(seen: &Seen) -> Diagnosis {
    let budget = seen.policy.runtime.iter().map(|runtime| runtime.download_budget).max().unwrap_or_default();
    let mut found = engine::judge(&seen.engine, &seen.engine_host);
    found.extend(daemon::judge(&seen.daemon, &seen.version));
    found.extend(disk::judge(&seen.disks, seen.policy.min_free, budget));
    found.extend(seen.registries.iter().flat_map(|registry| registry::judge(registry, seen.now)));
    found.extend(clock::judge(&seen.registries));
    found.extend(seen.paths.iter().flat_map(path::judge));
    if seen.policy.keep.is_empty() {
        found.push(
            Finding::new(Level::Note, "kept.none", "the configuration keeps no image")
                .why("Without [[keep]] a deploy moves whatever an earlier one did not leave here")
                .mend("write a [[keep]] block for each image that yours are built on, then sudo systemctl reload layerkeeper"),
        );
    }
    let inventory = seen.inventory.as_ref();
    found.extend(seen.kept.iter().flat_map(|kept| kept::judge(kept, inventory, seen.daemon.status())));
    found.extend(cleaners(seen));
    found.extend(host::judge(&seen.host));
    found.extend(unit::judge(&seen.unit));
    Diagnosis::of(found, seen.now.0)
}

fn cleaners(seen: &Seen) -> Vec<Finding> {
    let newest = seen.inventory.as_ref().map(|inventory| newest(&seen.policy, inventory, &deployed(&seen.daemon)));
    let stock = seen.inventory.as_ref().zip(newest.as_deref()).map(|(inventory, newest)| Stock {
        inventory,
        policy: &seen.policy,
        newest,
        now: seen.now,
    });
    let mut found = cleaners::judge::judge(&seen.cleaners, stock.as_ref());
    if !seen.unread.is_empty() {
        let what = format!("cleaners could not be looked for everywhere: {}", seen.unread.join("; "));
        let note = Finding::new(Level::Note, "cleaner.unread", what);
        found.push(note.why("A prune may be written where only root can read").mend("sudo layerkeeper doctor"));
    }
    found
}

/// Runtime tags as the daemon orders them, newest first.
fn deployed(daemon: &DaemonSeen) -> Vec<ImageName> {
    match daemon {
        DaemonSeen::Up(status) => {
            let tags = status.runtime.iter().flat_map(|runtime| &runtime.tags);
            tags.filter_map(|tag| tag.image.parse().ok()).collect()
        }
        DaemonSeen::Silent { .. } => Vec::new(),
    }
}
