//! A server's state in words that two engines share, a line for each thing: builds by their names instead of digests.
//!
//! Left out, for they differ by nature:
//! - sizes, and sentences with sizes in them: a real layer has a thousandth of the fake's. Which layers moved is compared,
//!   and how many warnings there are.
//! - instants, ids, and numbers of deploys; the order of tags and jobs is compared.
//! - a report's certainty: the containerd store tells how a pull goes ten times a second, and may finish a layer in between.
//! - how a loss came about: 26.1 with the containerd store does not tell of a prune (measured), the fake does.
//! - the order in which rows go: it is that of their digests.

use std::collections::BTreeMap;

use layerkeeper_core::{Digest, Image, ImageId, Inventory, Reference, Selector};
use layerkeeper_engine::Engine;
use layerkeeper_keeper::Keeper;
use layerkeeper_keeper::status::{KeptStatus, TagStatus};
use layerkeeper_store::record::{PruneRecord, PullRecord};
use layerkeeper_store::{JobFilter, JobRow};

/// Which build a digest is of, and which of its digests.
#[derive(Debug, Default)]
pub struct Labels(BTreeMap<String, String>);

/// A server's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(Vec<String>);

impl Labels {
    /// A build, its tag's digest, its manifest's and its config's.
    pub fn add(&mut self, label: &str, resolved: Digest, manifest: Digest, config: Digest) {
        self.0.insert(manifest.hex(), format!("manifest of {label}"));
        self.0.insert(resolved.hex(), label.to_owned());
        self.0.insert(config.hex(), format!("config of {label}"));
    }

    fn of(&self, digest: Digest) -> String {
        self.0.get(&digest.hex()).cloned().unwrap_or_else(|| "nobody's".to_owned())
    }

    fn of_text(&self, digest: Option<&String>) -> String {
        digest.and_then(|text| text.parse().ok()).map_or_else(|| "none".to_owned(), |digest| self.of(digest))
    }

    fn of_id(&self, id: ImageId) -> String {
        id.to_string().parse().map_or_else(|_| "no digest".to_owned(), |digest| self.of(digest))
    }

    fn reference(&self, text: &str) -> String {
        match text.parse::<Reference>() {
            Ok(Reference { repository, selector: Selector::Digest(digest) }) => {
                format!("{}@({})", short(&repository.to_string()), self.of(digest))
            }
            _ => short(text),
        }
    }
}

impl Snapshot {
    /// What the engine, the keeper and its store say. The engine is asked for those of these references that it does not
    /// list: the containerd store does not list all that it holds.
    /// Containers are those that the test made, in their order; any other is a surprise.
    pub async fn of(
        engine: &dyn Engine,
        asked: &[Reference],
        containers: &[String],
        keeper: &Keeper,
        labels: &Labels,
    ) -> Self {
        let (inventory, status) = (engine.inventory().await.unwrap(), keeper.status().await);
        let mut rows = keeper.jobs(JobFilter { limit: 500, ..JobFilter::default() }).await.unwrap();
        let mut lines: Vec<String> = inventory.images.iter().map(|image| image_line(image, labels)).collect();
        for reference in asked.iter().filter(|reference| inventory.find(reference).is_none()) {
            let image = engine.image(reference).await.unwrap();
            let image = image.map(|image| image_line(&image, labels));
            lines
                .extend(image.map(|image| format!("unlisted {} is {image}", labels.reference(&reference.to_string()))));
        }
        lines.sort();
        lines.extend(container_lines(&inventory, containers, labels));
        lines.extend(status.kept.iter().map(|kept| kept_line(kept, labels)));
        let tags = status.runtime.iter().flat_map(|runtime| &runtime.tags);
        lines.extend(tags.map(|tag| tag_line(tag, labels)));
        let superseded = status.superseded.iter();
        let mut superseded: Vec<_> = superseded
            .map(|old| format!("superseded {} was {}", labels.reference(&old.reference), short(&old.was)))
            .collect();
        superseded.sort();
        lines.extend(superseded);
        lines.extend(status.losses.iter().map(|loss| format!("lost {} slowed {}", short(&loss.image), loss.slowed)));
        lines.extend(status.forgotten.iter().map(|gone| format!("forgotten {} by {}", short(&gone.image), gone.who)));
        lines.extend(status.prune_blocked.iter().map(|why| format!("nothing may go: {why}")));
        rows.sort_by_key(|row| row.job.seq);
        lines.extend(rows.iter().enumerate().map(|(n, row)| format!("job {n}: {}", told(row, labels))));
        Self(lines)
    }

    /// What only one of the two has.
    pub fn differs_from(&self, other: &Self) -> String {
        let only = |these: &Self, those: &Self, sign: &str| -> String {
            these.0.iter().filter(|line| !those.0.contains(line)).map(|line| format!("{sign} {line}\n")).collect()
        };
        let (ours, theirs) = (only(self, other, "fake:"), only(other, self, "real:"));
        if ours.is_empty() && theirs.is_empty() {
            return format!("in another order: {self:#?} {other:#?}");
        }
        ours + &theirs
    }

    /// How many lines say all of this?
    pub fn count(&self, words: &[&str]) -> usize {
        self.0.iter().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }
}

fn image_line(image: &Image, labels: &Labels) -> String {
    let names: Vec<String> = image.names.iter().map(|name| short(&name.to_string())).collect();
    let row = |(repository, digest): &(_, Digest)| labels.reference(&format!("{repository}@{digest}"));
    let mut rows: Vec<String> = image.digests.iter().map(row).collect();
    rows.sort();
    let layers = image.layers.len();
    format!("image {} [{}] [{}] {layers} layers", labels.of_id(image.id), names.join(" "), rows.join(" "))
}

fn container_lines(inventory: &Inventory, containers: &[String], labels: &Labels) -> Vec<String> {
    let line = |container: &layerkeeper_core::Container| {
        let number = containers.iter().position(|id| *id == container.id);
        let number = number.map_or_else(|| "of nobody".to_owned(), |n| n.to_string());
        let image = container.image.map_or_else(|| "nothing".to_owned(), |id| labels.of_id(id));
        let from =
            container.created_from.as_ref().map_or_else(|| "no name".to_owned(), |name| short(&name.to_string()));
        format!("container {number} {} of {image} from {from}", container.state)
    };
    let mut lines: Vec<String> = inventory.containers.iter().map(line).collect();
    lines.sort();
    lines
}

fn kept_line(kept: &KeptStatus, labels: &Labels) -> String {
    let KeptStatus { image, present, finding, pin_unresolvable, .. } = kept;
    let (image, digest) = (short(image), labels.of_text(kept.digest.as_ref()));
    format!("kept {image} ({digest}) present {present}: {finding}, unresolvable {pin_unresolvable}")
}

fn tag_line(tag: &TagStatus, labels: &Labels) -> String {
    let (image, digest) = (short(&tag.image), labels.of_text(tag.digest.as_ref()));
    format!("tag {image} ({digest}) deployed {} held by {}", tag.deploy.is_some(), tag.held_by.len())
}

fn told(row: &JobRow, labels: &Labels) -> String {
    let (job, outcome) = (&row.job, &row.outcome);
    let image = job.intent.image().map(|image| short(&image.to_string())).unwrap_or_default();
    let kind = job.intent.kind().as_str();
    let mut words = vec![format!("{kind} {image} by {}: {}", job.trigger, job.state)];
    words.push(format!("{} attempts", job.attempts));
    words.extend(outcome.error.iter().map(|error| format!("failed as {}", error.class)));
    words.push(format!("digest {}", labels.of_text(outcome.digest.as_ref())));
    words.extend(outcome.kept.iter().chain(&outcome.pull).map(|pull| pulled(pull, labels)));
    words.extend(outcome.prune.iter().map(|prune| pruned(prune, labels)));
    words.push(format!("{} warnings", outcome.warnings.len()));
    words.join("; ")
}

fn pulled(pull: &PullRecord, labels: &Labels) -> String {
    let sources: Vec<&str> = pull.layers.iter().map(|layer| layer.source.as_str()).collect();
    format!("{} ({}) [{}]", short(&pull.image), labels.of_text(pull.digest.as_ref()), sources.join(" "))
}

/// What went, and what stayed for which reason. Tags are in the order in which they went; rows are not, for they go in the
/// order of their digests.
fn pruned(prune: &PruneRecord, labels: &Labels) -> String {
    let (mut rows, mut went): (Vec<_>, Vec<_>) = prune.removals.iter().partition(|gone| gone.name.contains('@'));
    rows.sort_by_key(|gone| labels.reference(&gone.name));
    went.append(&mut rows);
    let went = went.iter().map(|gone| format!("{} {}", labels.reference(&gone.name), gone.outcome));
    let mut stayed: Vec<_> =
        prune.kept.iter().map(|kept| format!("{} {}", labels.reference(&kept.name), kept.class)).collect();
    stayed.sort();
    let blocked = prune.blocked.as_deref().unwrap_or("nothing");
    format!("blocked by {blocked}, went [{}], stayed [{}]", went.collect::<Vec<_>>().join(", "), stayed.join(", "))
}

/// Without the registry and the team.
fn short(name: &str) -> String {
    name.split_once("acme/").map_or(name, |(_, short)| short).to_owned()
}
