//! May this come? And was the report of it true? Judged by what the registry served.

use layerkeeper_core::{Digest, ImageName, Intent, Inventory, JobState, Reference, Selector};
use layerkeeper_engine::fake::PullEnd;
use layerkeeper_store::JobRow;
use layerkeeper_store::record::PullRecord;

use super::ledger::{Gate, Ledger, Place, Pulled};
use super::outside::Shop;

impl Ledger {
    /// The keeper begins a pull; its number among all.
    pub fn pull_begins(&mut self, reference: &Reference, blind: bool) -> usize {
        let served = self.served.len();
        self.count("pull");
        if self.pulls.last().is_some_and(|pull| pull.end.is_none()) {
            self.wrong(format!("{reference} is pulled while another pull is under way"));
        }
        if !self.is_wanted(reference) {
            self.wrong(format!("{reference} is pulled, though forgotten or wanted by nobody"));
        }
        if matches!(reference.selector, Selector::Digest(_)) {
            self.rows.insert(reference.clone());
        }
        self.pulls.push(Pulled { reference: reference.clone(), served: served..served, end: None, blind });
        self.pulls.len() - 1
    }

    /// It has ended.
    pub fn pull_ends(&mut self, at: usize, end: PullEnd, served: Vec<Digest>) {
        if end == PullEnd::Failed {
            self.count("failed pull");
        }
        self.pulls[at].served.end = served.len();
        self.served = served;
        self.pulls[at].end = Some(end);
    }

    /// Somebody wants it: a deploy asks for it, or it is to be here and nobody forgot it.
    fn is_wanted(&self, reference: &Reference) -> bool {
        let repository = &reference.repository;
        let kept = self.policies.iter().flat_map(|policy| &policy.keep).map(|keep| keep.image.clone());
        let names: Vec<ImageName> = match &reference.selector {
            Selector::Tag(tag) => vec![repository.tagged(tag.clone())],
            Selector::Digest(digest) => {
                let kept = kept.filter(|name| name.repository == *repository);
                kept.chain(self.names_with(reference, *digest)).collect()
            }
        };
        let asked = self.open().any(|job| {
            let Intent::Deploy { image, .. } = &job.intent else { return false };
            match &reference.selector {
                Selector::Tag(_) => names.contains(image),
                Selector::Digest(digest) => image.repository == *repository && self.wanted_by(job).contains(digest),
            }
        });
        asked || names.iter().any(|name| self.forgotten.get(name) != Some(&true))
    }

    pub fn names_with(&self, reference: &Reference, digest: Digest) -> impl Iterator<Item = ImageName> {
        let had = self.had.iter().filter(move |(_, digests)| digests.contains(&digest)).map(|(name, _)| name);
        had.filter(|name| name.repository == reference.repository).cloned()
    }

    /// The keeper gave a name to another image: what it stood for is left behind.
    pub fn named(&mut self, name: &ImageName, before: &Inventory, after: &Inventory) {
        let (Some(old), Some(new)) = (before.named(name), after.named(name)) else { return };
        if old.id == new.id {
            return;
        }
        for digest in old.digests_in(&name.repository) {
            self.left.entry(name.repository.by_digest(digest)).or_default().insert(name.clone());
        }
    }

    /// The keeper has died. A name that it was about to move may be written down as moved: only its next job finds out, and
    /// somebody else may have moved the name by then.
    pub fn was_moving(&mut self, here: Option<&Inventory>) {
        let kept = self.policy().keep.iter().map(|keep| keep.image.clone());
        let moving: Vec<ImageName> = self.open().filter_map(|job| job.intent.image().cloned()).chain(kept).collect();
        for name in moving {
            for digest in
                here.and_then(|here| here.named(&name)).iter().flat_map(|old| old.digests_in(&name.repository))
            {
                self.maybe_left.insert(name.repository.by_digest(digest));
            }
        }
    }

    /// By a local tag it may do so only where no container was created from the name.
    pub fn tagged_locally(&mut self, name: &ImageName, before: &Inventory, after: &Inventory) {
        let (Some(old), Some(new)) = (before.named(name), after.named(name)) else { return };
        let creator = before.containers.iter().find(|container| container.created_from.as_ref() == Some(name));
        if let Some(container) = creator.filter(|_| old.id != new.id) {
            let container = container.name.clone();
            self.wrong(format!("{name} is moved by a local tag, and {container} was created from it"));
        }
    }

    /// A job has come to its end.
    pub fn ended(&mut self, row: &JobRow, instance: &str, shop: &Shop) {
        let seen = self.jobs[&row.job.seq].clone();
        self.count(row.job.state.as_str());
        if row.job.state == JobState::Succeeded {
            match &row.job.intent {
                Intent::Heal { .. } if row.outcome.pull.is_some() => self.count("heal"),
                Intent::Deploy { image, .. } => {
                    let place = Place { least: seen.since, most: self.step };
                    self.deployed.insert(image.clone(), (place, seen.at));
                    self.forgotten.remove(image);
                    self.newest = Some(image.clone());
                    self.deployed_on.insert(instance.to_owned());
                    self.gate = Gate::Open;
                }
                Intent::Heal { .. } | Intent::Warm { .. } | Intent::Prune { .. } => {}
            }
        }
        for pull in row.outcome.pull.iter().chain(&row.outcome.kept) {
            if let Err(why) = self.report(pull, seen.since, shop) {
                self.wrong(format!("the report of {} is wrong: {why}: {pull:?}", pull.image));
            }
        }
    }

    /// For a pull that succeeded in one attempt: reused and downloaded make up the manifest's layers, and downloaded is what
    /// the registry served. Beside somebody else's pulls and prunes it may be unsure, and then says so.
    fn report(&mut self, pull: &PullRecord, since: usize, shop: &Shop) -> Result<(), String> {
        let [attempt] = &*pull.attempts else { return Ok(()) };
        let unsure = pull.certainty != "exact" && !pull.doubts.is_empty();
        // the stream of a pull that a kill cut is lost, and without a manifest nobody knows what came before
        let unseen = unsure && self.died >= since;
        let no_manifest = pull.reuse_ratio.is_none();
        if attempt.failure.is_some()
            || pull.wasted_bytes > 0
            || unseen && no_manifest
            || unsure && self.meddled >= since
        {
            return Ok(());
        }
        let name: ImageName = pull.image.parse().map_err(|_| "no name")?;
        let digest: Digest = pull.digest.as_deref().and_then(|d| d.parse().ok()).ok_or("no digest")?;
        let image = shop.image_of(&name.repository, digest).ok_or("the registry never had it")?;
        let reference = name.repository.by_digest(digest);
        self.count("report");
        let total: u64 = image.layers.iter().map(|layer| layer.size.0).sum();
        if pull.reuse_ratio.is_some() && pull.reused_bytes + pull.downloaded_bytes != total {
            return Err(format!("the layers are {total} bytes"));
        }
        // then the estimate has to do: a pull that failed before may have taught the engine more than it told
        let last = self.pulls.iter().rfind(|pull| pull.reference == reference);
        // and of layers that nobody could know of it may only say that it is unsure
        if unseen || unsure && last.is_some_and(|pull| pull.blind) {
            return Ok(());
        }
        let served = |pull: &Pulled| -> u64 {
            let size = |blob: &Digest| image.layers.iter().find(|l| l.blob == *blob).map_or(0, |l| l.size.0);
            self.served[pull.served.clone()].iter().map(size).sum()
        };
        // one that a kill cut may have brought all there is, also one by the name, whose tag had moved meanwhile
        let by = [reference, name.to_reference()];
        let same = |pull: &&Pulled| by.contains(&pull.reference) && pull.end != Some(PullEnd::Failed);
        let moved: Vec<u64> = self.pulls.iter().filter(same).map(served).collect();
        if moved.contains(&pull.downloaded_bytes) {
            Ok(())
        } else {
            Err(format!("the registry served {moved:?} bytes"))
        }
    }
}
