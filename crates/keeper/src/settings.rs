//! What the configuration tells the keeper besides the policy.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use croner::Cron;
use layerkeeper_core::job::JobKind;
use layerkeeper_core::plan::TransferMode;
use layerkeeper_core::{Bytes, ImageName, Keep, Policy, Quarter, Quarters, Repository, Series, Template, Timestamp};

/// When a kept image is refreshed.
#[derive(Debug, Clone)]
pub struct KeepSchedule {
    /// Which.
    pub image: ImageName,
    /// Six fields, seconds first.
    pub cron: Cron,
    /// As written, for people.
    pub text: String,
    /// The zone in which the fields are read.
    pub timezone: Tz,
}

/// A kept image of which every quarter brings another one, as the configuration has it.
#[derive(Debug, Clone)]
pub struct KeepSeries {
    /// Its names, and where it is to stay.
    pub series: Series,
    /// So many of `policy.keep` stand before it in the file.
    pub after: usize,
    /// When each of its images is refreshed. Quarters begin in this zone, or in UTC where it has none.
    pub schedule: Option<KeepSchedule>,
}

/// Everything the keeper needs to know. Replaced as a whole on reload.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is kept, deployed and pruned.
    pub policy: Policy,
    /// One per kept image, in the order of the file.
    pub schedules: Vec<KeepSchedule>,
    /// What more is kept, by quarter. [`Settings::at`] makes kept images and schedules of it.
    pub series: Vec<KeepSeries>,
    /// A scheduled run starts up to this much later, by a delay of its own per host and tick.
    pub jitter: Duration,
    /// Further file systems to watch besides the engine's data root.
    pub disk_paths: Vec<PathBuf>,
    /// How long a stop waits for a running pull.
    pub stop_timeout: Duration,
    /// How long a tag that is not there yet is waited for after a deploy webhook.
    pub not_yet_timeout: Duration,
    /// How long a pull may neither download nor extract anything before it is cancelled and tried again.
    pub stall_timeout: Duration,
    /// How often the engine is looked at when it tells nothing.
    pub look_every: Duration,
    /// How often a job is tried before it fails for a cause that may pass.
    pub max_attempts: u32,
    /// The engine's data root as this process sees it, where it differs from what the engine says.
    pub data_root: Option<PathBuf>,
    /// How content is to come.
    pub transfer: TransferSettings,
}

/// How content is to come.
#[derive(Debug, Clone)]
pub struct TransferSettings {
    /// Which way.
    pub mode: TransferMode,
    /// The most connections at once that the relay uses.
    pub connections: usize,
    /// The most of them to one registry or mirror.
    pub connections_per_registry: usize,
    /// So much may lie in the relay's spool at once.
    pub spool_max: Bytes,
    /// So many bytes per second may come in all.
    pub max_rate: Option<Bytes>,
    /// So many for refreshes and healing, while no deploy waits.
    pub background_rate: Option<Bytes>,
    /// Where else blobs of a registry may come from.
    pub mirrors: Vec<Mirror>,
    /// The engine runs on this machine, so that loopback is the same for it.
    pub engine_is_here: bool,
}

/// Where else blobs of a registry may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `ghcr.io`
    pub registry: String,
    /// They are pull-through caches, and are asked before the registry.
    pub cache: bool,
    /// The mirrors.
    pub endpoints: Vec<Endpoint>,
}

/// A mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `HOST[:PORT]`
    pub host: String,
    /// It speaks plain HTTP.
    pub plain: bool,
}

impl Default for TransferSettings {
    fn default() -> Self {
        Self {
            mode: TransferMode::Auto,
            connections: 16,
            connections_per_registry: 16,
            spool_max: Bytes(4_000_000_000),
            max_rate: None,
            background_rate: None,
            mirrors: Vec::new(),
            engine_is_here: true,
        }
    }
}

impl TransferSettings {
    /// A repository at the mirrors of its registry that are no caches.
    pub fn mirrors_of(&self, repository: &Repository) -> Vec<Repository> {
        self.at(repository, false)
    }

    /// A repository at the pull-through caches of its registry.
    pub fn caches_of(&self, repository: &Repository) -> Vec<Repository> {
        self.at(repository, true)
    }

    fn at(&self, repository: &Repository, cache: bool) -> Vec<Repository> {
        let registry = repository.registry();
        let mirrors = self.mirrors.iter().filter(|mirror| mirror.registry == registry && mirror.cache == cache);
        let endpoints = mirrors.flat_map(|mirror| &mirror.endpoints);
        endpoints.filter_map(|at| format!("{}/{}", at.host, repository.path()).parse().ok()).collect()
    }

    /// How fast bytes may come for such a job. A kept image that a deploy pulls first is no background.
    pub fn rate_of(&self, kind: JobKind) -> Option<Bytes> {
        let background = if kind == JobKind::Deploy { None } else { self.background_rate };
        [self.max_rate, background].into_iter().flatten().min()
    }
}

impl KeepSeries {
    /// The quarter that it is now.
    pub fn today(&self, now: Timestamp) -> Quarter {
        let zone = self.schedule.as_ref().map_or(Tz::UTC, |schedule| schedule.timezone);
        let date = DateTime::<Utc>::from_timestamp_millis(now.0).unwrap_or_default().with_timezone(&zone);
        Quarter::of(date.year(), date.month())
    }
}

impl Settings {
    /// The series whose name in some quarter this is.
    pub fn series_of(&self, image: &ImageName) -> Option<&KeepSeries> {
        self.series.iter().find(|of| of.series.template.quarter_of(image).is_some())
    }

    /// What is wanted of a kept image of this name, also of a quarter of a series that is only on its way.
    pub fn keep_of(&self, image: &ImageName) -> Option<Keep> {
        let on_its_way = || {
            let series = &self.series_of(image)?.series;
            Some(series.keep(series.template.quarter_of(image)?))
        };
        self.policy.kept(image).cloned().or_else(on_its_way)
    }

    /// The same, with every series' images, at these quarters, among what is kept: each in its place in the file.
    pub fn at(&self, quarters: &BTreeMap<Template, Quarters>, now: Timestamp) -> Self {
        let mut settings = self.clone();
        for of in self.series.iter().rev() {
            let at = quarters.get(&of.series.template).copied().unwrap_or_default();
            let kept: Vec<_> = of.series.kept(at, of.today(now)).collect();
            let place = of.after.min(settings.policy.keep.len());
            // schedules follow the order of what is kept, and some of that may have none
            let before = settings.policy.keep[..place].iter();
            let has_one = |image: &ImageName| settings.schedules.iter().any(|schedule| schedule.image == *image);
            let scheduled = before.filter(|keep| has_one(&keep.image)).count();
            let lines = of.schedule.iter().flat_map(|schedule| {
                kept.iter().map(|keep| KeepSchedule { image: keep.image.clone(), ..schedule.clone() })
            });
            settings.schedules.splice(scheduled..scheduled, lines);
            settings.policy.keep.splice(place..place, kept);
        }
        settings
    }
}
