//! A tiny host for tests of the planner: say what is on it, ask for the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::bytes::Bytes;
use crate::digest::{DiffId, Digest, ImageId};
use crate::inventory::{Container, ContainerState, EngineInfo, Image, Inventory, StoreKind};
use crate::layers::LayerRecord;
use crate::manifest::Platform;
use crate::plan::history::{MadeName, NameHistory, SupersededDigest};
use crate::plan::prune::{PressurePlan, PressureQuestion, PrunePlan, PruneQuestion, plan_pressure, plan_prune};
use crate::policy::{Keep, Policy, RemoveSuperseded, Runtime};
use crate::reference::{ImageName, Repository};
use crate::time::Timestamp;

/// The runtime repository of every test host.
pub(crate) const APP: &str = "ghcr.io/acme/app";
/// What time it is.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// What the layer below every application takes.
pub(crate) const BASE: Bytes = Bytes(1_000);
/// What an application's own layer takes.
pub(crate) const OWN: Bytes = Bytes(10);

/// So many days.
pub(crate) fn days(n: u64) -> Duration {
    hours(24 * n)
}

/// So many hours.
pub(crate) fn hours(n: u64) -> Duration {
    Duration::from_secs(3600 * n)
}

/// A name: `sha-1` is one of the runtime repository, all else is read as it stands.
pub(crate) fn name(text: &str) -> ImageName {
    if text.contains([':', '/']) { text.parse().unwrap() } else { repository(APP).tagged(text.parse().unwrap()) }
}

pub(crate) fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

/// The manifest digest of the image that is known by this word.
pub(crate) fn digest(word: &str) -> Digest {
    Digest::of(word.as_bytes())
}

/// The engine's id of the image that is known by this word.
pub(crate) fn id(word: &str) -> ImageId {
    ImageId::of(format!("config of {word}").as_bytes())
}

/// Uncompressed content by a word.
pub(crate) fn diff(word: &str) -> DiffId {
    DiffId::of(word.as_bytes())
}

/// An engine with this store.
pub(crate) fn engine(store: StoreKind) -> EngineInfo {
    EngineInfo {
        rootless: false,
        id: "ENGINE".to_owned(),
        version: "26.1.5".to_owned(),
        store,
        driver: "overlay2".to_owned(),
        data_root: "/var/lib/docker".to_owned(),
        platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None },
    }
}

/// An image without a name: a layer of its own on the common base.
pub(crate) fn image(word: &str) -> Image {
    Image {
        id: id(word),
        names: BTreeSet::new(),
        digests: BTreeSet::new(),
        layers: vec![diff("base"), diff(word)],
        layer_bytes: vec![BASE, OWN],
        created: Timestamp(0),
    }
}

/// A runtime block: `sha-*` may go, the newest `keep_last` and everything younger than a day stay.
pub(crate) fn runtime(of: &str, keep_last: usize) -> Runtime {
    Runtime {
        repository: repository(of),
        deploy_tags: vec!["*".parse().unwrap()],
        prune_tags: vec!["sha-*".parse().unwrap()],
        keep_last,
        keep_min: 2,
        min_age: days(1),
        download_budget: Bytes(300_000_000),
        download_limit: None,
    }
}

/// Stands for the digest that a name has when the plan is made.
const WHAT_IS_HERE: &str = "what is here";

/// Everything that a prune is judged by.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub inventory: Inventory,
    pub policy: Policy,
    pub history: BTreeMap<ImageName, NameHistory>,
    pub made: Vec<MadeName>,
    pub superseded: Vec<SupersededDigest>,
    pub superseded_now: bool,
    pub layers: Vec<LayerRecord>,
    pub blocked: Option<&'static str>,
    pub clock_doubt: Option<&'static str>,
}

impl Host {
    /// An empty host whose one runtime repository keeps so many.
    pub fn keeping(keep_last: usize) -> Self {
        Self {
            inventory: Inventory { engine: engine(StoreKind::Graphdriver), images: Vec::new(), containers: Vec::new() },
            policy: Policy {
                keep: Vec::new(),
                runtime: vec![runtime(APP, keep_last)],
                remove_superseded: RemoveSuperseded::Never,
                min_free: Bytes(4_000_000_000),
            },
            history: BTreeMap::new(),
            made: Vec::new(),
            superseded: Vec::new(),
            superseded_now: false,
            layers: Vec::new(),
            blocked: None,
            clock_doubt: None,
        }
    }

    /// The image known by this word; new where there was none.
    pub fn image(&mut self, word: &str) -> &mut Image {
        let at = self.inventory.images.iter().position(|image| image.id == id(word)).unwrap_or_else(|| {
            self.inventory.images.push(image(word));
            self.inventory.images.len() - 1
        });
        &mut self.inventory.images[at]
    }

    /// With this name on the image known by `word`, and the digest row that a pull leaves.
    pub fn named(mut self, word: &str, as_: &str) -> Self {
        let name = name(as_);
        let image = self.image(word);
        image.digests.insert((name.repository.clone(), digest(word)));
        image.names.insert(name);
        self
    }

    /// With a row `repository@digest` on the image known by `word`.
    pub fn row(mut self, word: &str, of: &str) -> Self {
        self.image(word).digests.insert((repository(of), digest(word)));
        self
    }

    /// A tag `word` on an image of its own that we deployed as number `n`, so long ago.
    pub fn deployed(self, word: &str, n: u64, ago: Duration) -> Self {
        let at = NOW.minus(ago);
        let record = NameHistory { place: n, deployed: Some((n, at)), first_seen: at, last_held: None };
        self.named(word, word).recorded(word, record)
    }

    /// A tag `word` on an image of its own that somebody else brought.
    pub fn sighted(self, word: &str, place: u64, ago: Duration) -> Self {
        let record = NameHistory { place, deployed: None, first_seen: NOW.minus(ago), last_held: None };
        self.named(word, word).recorded(word, record)
    }

    pub fn recorded(mut self, of: &str, record: NameHistory) -> Self {
        self.history.insert(name(of), record);
        self
    }

    /// With a container in that state, made from the image known by `word`.
    pub fn held(mut self, word: &str, state: ContainerState) -> Self {
        let container = Container {
            id: format!("c-{word}"),
            name: format!("{word}-1"),
            state,
            image: Some(id(word)),
            created_from: None,
        };
        self.inventory.containers.push(container);
        self
    }

    /// With a kept image.
    pub fn keep(mut self, as_: &str, pin: Option<Digest>) -> Self {
        self.policy.keep.push(Keep::new(name(as_), pin));
        self
    }

    /// With a record that our own pull moved `was` away from the image known by `word`, to what it has here.
    pub fn left_behind(mut self, word: &str, was: &str, ago: Duration) -> Self {
        let was = name(was);
        let repository = was.repository.clone();
        self.superseded.push(SupersededDigest {
            repository,
            digest: digest(word),
            was,
            successor: digest(WHAT_IS_HERE),
            image: id(word),
            at: NOW.minus(ago),
        });
        self
    }

    /// The last of these records says that the name moved on to the image known by `word`.
    pub fn to(mut self, word: &str) -> Self {
        self.superseded.last_mut().unwrap().successor = digest(word);
        self
    }

    fn superseded(&self) -> Vec<SupersededDigest> {
        let filled = self.superseded.iter().cloned().map(|mut old| {
            let here = self.inventory.named(&old.was).and_then(|image| image.digests_in(&old.repository).next());
            if let Some(here) = here.filter(|_| old.successor == digest(WHAT_IS_HERE)) {
                old.successor = here;
            }
            old
        });
        filled.collect()
    }

    /// With a record that our own pull made the row of `word` in the runtime repository.
    pub fn made(mut self, word: &str) -> Self {
        self.made.push(MadeName { reference: repository(APP).by_digest(digest(word)), at: NOW });
        self
    }

    pub fn plan(&self) -> PrunePlan {
        plan_prune(&self.question(&self.superseded()))
    }

    /// Makes room for an image of these layers.
    pub fn press(&self, wanted: Bytes, incoming: &[DiffId]) -> PressurePlan {
        plan_pressure(&PressureQuestion { prune: self.question(&self.superseded()), wanted, incoming })
    }

    fn question<'a>(&'a self, superseded: &'a [SupersededDigest]) -> PruneQuestion<'a> {
        PruneQuestion {
            inventory: &self.inventory,
            policy: &self.policy,
            history: &self.history,
            made: &self.made,
            superseded,
            superseded_now: self.superseded_now,
            layers: &self.layers,
            blocked: self.blocked,
            clock_doubt: self.clock_doubt,
            now: NOW,
        }
    }
}

/// A plan as an operator would read it, with long names shortened.
pub(crate) fn render(plan: &PrunePlan) -> String {
    let short = |text: String| text.replace(&format!("{APP}:"), "").replace(&format!("{APP}@sha256:"), "@");
    let cut = |text: String| {
        let mut words = short(text);
        while let Some(at) = words.find('@').filter(|at| words.len() > at + 13) {
            let end = words[at + 13..].find(|c: char| !c.is_ascii_hexdigit()).map_or(words.len(), |n| at + 13 + n);
            words.replace_range(at + 13..end, "");
            words.replace_range(at..=at, "#");
        }
        words.replace('#', "@")
    };
    let mut text = String::new();
    for removal in &plan.removals {
        let line = format!("goes   {} (frees {}): {}\n", removal.name, removal.freed, removal.reason);
        text.push_str(&cut(line));
    }
    for kept in &plan.kept {
        text.push_str(&cut(format!("stays  {}: {}\n", kept.name, kept.reason)));
    }
    text
}

impl PrunePlan {
    /// The names that go, in order; those of the runtime repository by their tag.
    pub(crate) fn going(&self) -> Vec<String> {
        self.removals.iter().map(|removal| removal.name.to_string().replace(&format!("{APP}:"), "")).collect()
    }

    /// Why a name goes or stays.
    pub(crate) fn why(&self, of: &str) -> String {
        let reference = name(of).to_reference();
        let goes = self.removals.iter().filter(|r| r.name == reference).map(|r| format!("goes: {}", r.reason));
        let stays = self.kept.iter().filter(|k| k.name == reference).map(|k| format!("stays: {}", k.reason));
        let all: Vec<String> = goes.chain(stays).collect();
        assert_eq!(all.len(), 1, "{of} is listed {} times: {all:?}", all.len());
        all.concat()
    }

    /// What all removals free.
    pub(crate) fn freed(&self) -> Bytes {
        self.removals.iter().map(|removal| removal.freed).sum()
    }
}
