//! What the test itself knows: what was asked for, what was seen on the engine, in which order and since when. The keeper's
//! own record is not asked, but for the state of a job.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layerkeeper_core::{Digest, ImageId, ImageName, Intent, Inventory, JobId, JobState, Policy, Reference};
use layerkeeper_engine::fake::PullEnd;

/// Shared by those who write it.
pub type Shared = Arc<Mutex<Ledger>>;

/// A job, from outside.
#[derive(Debug, Clone)]
pub struct Seen {
    pub id: JobId,
    pub intent: Intent,
    pub state: JobState,
    /// The step in which it was first known of.
    pub since: usize,
    /// Boot time then.
    pub at: Duration,
    /// How many builds its tag had shown then: what it may bring is the last of them, or a later one.
    pub builds: usize,
    /// Its name was seen standing for what it wants.
    pub placed: bool,
}

/// A pull by the keeper.
#[derive(Debug, Clone)]
pub struct Pulled {
    pub reference: Reference,
    /// Blobs that the registry served to it, as a stretch of [`layerkeeper_engine::fake::FakeRegistry::served`].
    pub served: std::ops::Range<usize>,
    /// None while it runs.
    pub end: Option<PullEnd>,
    /// When it began, the engine held an image that it does not list, under no name of ours: nobody could know of its layers.
    pub blind: bool,
}

/// A name's place in the order of deploys and first sightings: at least and at most, in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub least: usize,
    pub most: usize,
}

/// May the keeper remove anything?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// The engine was away, and the keeper need not have noticed yet.
    Closing,
    Closed,
}

/// All of it.
pub struct Ledger {
    pub step: usize,
    /// Boot time.
    pub now: Duration,
    /// In force since the keeper was last idle; the last one is in force now.
    pub policies: Vec<Policy>,
    pub jobs: BTreeMap<u64, Seen>,
    /// The last succeeded deploy's.
    pub newest: Option<ImageName>,
    pub deployed: HashMap<ImageName, (Place, Duration)>,
    pub sighted: HashMap<(String, ImageName), Place>,
    /// Since when a name stands for an image here, in boot time.
    pub stays: HashMap<(String, ImageName), (ImageId, Duration)>,
    /// Stays that ended since the keeper was last idle: where the name comes back to the same image before its next look,
    /// it cannot know.
    pub ended: HashMap<(String, ImageName), (ImageId, Duration)>,
    /// What each tag has shown: of every build the digests by which it is known.
    pub shown: HashMap<ImageName, Vec<[Digest; 2]>>,
    /// Not to be brought here. True once whatever was under way has ended.
    pub forgotten: HashMap<ImageName, bool>,
    /// Digests that a name had on an engine.
    pub had: HashMap<ImageName, HashSet<Digest>>,
    pub gate: Gate,
    /// Engine instances on which a deploy has succeeded.
    pub deployed_on: HashSet<String>,
    /// What the keeper pulled by its digest.
    pub rows: HashSet<Reference>,
    /// What a name left behind when the keeper moved it.
    pub left: HashMap<Reference, BTreeSet<ImageName>>,
    /// What a name was about to leave behind, or had, when the keeper died.
    pub maybe_left: HashSet<Reference>,
    /// Names that the keeper ever removed.
    pub pruned: HashSet<ImageName>,
    /// Rows of images of which the keeper removed a tag.
    pub orphaned: HashSet<Reference>,
    pub pulls: Vec<Pulled>,
    /// How many names somebody else took away or moved while a job ran: it may have made its plan before.
    pub snatched: usize,
    /// Free on the disk when there was least of it, since the keeper was last idle.
    pub least_free: u64,
    /// Names that somebody else gave while a job ran: its plan may be older.
    pub tagged: HashSet<ImageName>,
    /// The last step in which somebody else changed which images are here.
    pub meddled: usize,
    /// The last step in which a keeper was started.
    pub died: usize,
    /// Blobs that the registry served so far.
    pub served: Vec<Digest>,
    pub wrong: Vec<String>,
    /// How often what happened, to be sure that it did.
    pub tally: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub fn new(policy: Policy, now: Duration) -> Self {
        Self {
            step: 0,
            now,
            policies: vec![policy],
            jobs: BTreeMap::new(),
            newest: None,
            deployed: HashMap::new(),
            sighted: HashMap::new(),
            stays: HashMap::new(),
            ended: HashMap::new(),
            shown: HashMap::new(),
            forgotten: HashMap::new(),
            had: HashMap::new(),
            gate: Gate::Open,
            deployed_on: HashSet::new(),
            rows: HashSet::new(),
            left: HashMap::new(),
            maybe_left: HashSet::new(),
            pruned: HashSet::new(),
            orphaned: HashSet::new(),
            pulls: Vec::new(),
            snatched: 0,
            least_free: u64::MAX,
            tagged: HashSet::new(),
            meddled: 0,
            died: 0,
            served: Vec::new(),
            wrong: Vec::new(),
            tally: BTreeMap::new(),
        }
    }

    /// It has happened.
    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Something must not be.
    pub fn wrong(&mut self, what: String) {
        self.wrong.push(format!("step {}: {what}", self.step));
    }

    /// There is such a job.
    pub fn knows(&mut self, seq: u64, id: &JobId, intent: &Intent) {
        let builds = intent.image().and_then(|image| self.shown.get(image)).map_or(0, Vec::len);
        let (id, intent, since, at) = (id.clone(), intent.clone(), self.step, self.now);
        let seen = Seen { id, intent, state: JobState::Queued, since, at, builds, placed: false };
        self.jobs.entry(seq).or_insert(seen);
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        self.policies.last().unwrap()
    }

    /// Jobs without a final state.
    pub fn open(&self) -> impl Iterator<Item = &Seen> {
        self.jobs.values().filter(|job| !job.state.is_final())
    }

    /// Unfinished deploys of this name.
    pub fn deploys_of<'a>(&'a self, name: &'a ImageName) -> impl Iterator<Item = &'a Seen> {
        self.open().filter(move |job| matches!(&job.intent, Intent::Deploy { image, .. } if image == name))
    }

    /// The digests that a deploy may bring.
    pub fn wanted_by(&self, job: &Seen) -> HashSet<Digest> {
        let Intent::Deploy { image, digest, .. } = &job.intent else { return HashSet::new() };
        let builds = self.shown.get(image).map(Vec::as_slice).unwrap_or_default();
        let fits = |(at, build): &(usize, &[Digest; 2])| match digest {
            Some(digest) => build.contains(digest),
            None => at + 1 >= job.builds,
        };
        builds.iter().enumerate().filter(fits).flat_map(|(_, build)| *build).collect()
    }

    /// Takes down what is here now.
    pub fn look(&mut self, inventory: &Inventory) {
        let instance = inventory.engine.instance();
        let (step, now) = (self.step, self.now);
        let mut here = HashSet::new();
        for image in &inventory.images {
            for name in &image.names {
                let key = (instance.clone(), name.clone());
                self.sighted.entry(key.clone()).or_insert(Place { least: step.saturating_sub(1), most: usize::MAX });
                if self.stays.get(&key).is_none_or(|(id, _)| *id != image.id) {
                    let same = self.ended.get(&key).filter(|(id, _)| *id == image.id);
                    let stay = same.copied().unwrap_or((image.id, now));
                    self.ended.extend(self.stays.insert(key.clone(), stay).map(|before| (key.clone(), before)));
                }
                self.had.entry(name.clone()).or_default().extend(image.digests_in(&name.repository));
                here.insert(key);
            }
        }
        self.ended.extend(self.stays.extract_if(|key, _| key.0 == instance && !here.contains(key)));
        let open: Vec<u64> = self.jobs.iter().filter(|(_, job)| !job.state.is_final()).map(|(seq, _)| *seq).collect();
        for seq in open {
            let job = &self.jobs[&seq];
            let Some(image) = job.intent.image().filter(|_| matches!(job.intent, Intent::Deploy { .. })) else {
                continue;
            };
            let Some(here) = inventory.named(image) else { continue };
            let wanted = self.wanted_by(job);
            if here.digests_in(&image.repository).any(|digest| wanted.contains(&digest)) {
                self.jobs.get_mut(&seq).unwrap().placed = true;
            }
        }
    }

    /// The keeper has looked at all that is here, and nothing is under way.
    pub fn idle(&mut self, instance: &str) {
        let step = self.step;
        for ((of, _), place) in self.sighted.iter_mut().filter(|(_, place)| place.most == usize::MAX) {
            if of == instance {
                place.most = step;
            }
        }
        self.snatched = 0;
        self.least_free = u64::MAX;
        self.ended.clear();
        self.tagged.clear();
        self.policies.drain(..self.policies.len() - 1);
        self.forgotten.values_mut().for_each(|strict| *strict = true);
    }

    /// A name's place, as far as it is known.
    pub fn place(&self, instance: &str, name: &ImageName) -> Place {
        let sighted = self.sighted.get(&(instance.to_owned(), name.clone())).copied();
        let known = self.deployed.get(name).map(|(place, _)| *place).or(sighted);
        let mut place = known.unwrap_or(Place { least: 0, most: usize::MAX });
        if self.deploys_of(name).next().is_some() {
            place.most = usize::MAX;
        }
        place
    }

    /// Why nothing may be removed now, if so.
    pub fn blocked(&self, instance: &str) -> Option<&'static str> {
        // its name stands, so it has happened, though nobody has told us
        if self.open().any(|job| job.placed) {
            return None;
        }
        match (self.gate, self.deployed_on.contains(instance)) {
            (Gate::Closed, _) => Some("the engine was away"),
            (_, false) => Some("no deploy has succeeded on this engine"),
            (Gate::Open | Gate::Closing, true) => None,
        }
    }
}
