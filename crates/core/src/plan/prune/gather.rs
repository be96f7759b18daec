//! Candidates for a prune, grouped by image and put in order, newest first.

use std::cmp::Reverse;
use std::time::Duration;

use crate::inventory::Image;
use crate::plan::history::NameHistory;
use crate::plan::prune::PruneQuestion;
use crate::policy::Runtime;
use crate::reference::ImageName;
use crate::time::Timestamp;

/// The prunable tags of one image in one repository: they stay or go together.
pub(super) struct Group<'a> {
    pub image: &'a Image,
    /// Sorted; never empty.
    pub names: Vec<&'a ImageName>,
    /// The youngest tag's.
    pub age: Duration,
    /// The highest number of a succeeded deploy among the tags.
    pub deployed: Option<u64>,
    /// The latest first sighting among the tags.
    pub first_seen: Timestamp,
    /// Among all names of this engine; higher is newer.
    pub place: u64,
}

impl Group<'_> {
    /// Since when the image is known, where its age is no more than that: no tag of it was ever deployed by us.
    pub(super) fn age_unknown(&self) -> Option<Timestamp> {
        self.deployed.is_none().then_some(self.first_seen)
    }
}

/// All groups of the repository, among the images that have a name in it. The newest succeeded deploy leads; what somebody else brought since cannot push it
/// out. A tag without a record counts as first seen just now.
pub(super) fn groups<'a>(question: &PruneQuestion<'_>, runtime: &Runtime, images: &[&'a Image]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = images
        .iter()
        .filter_map(|image| {
            let names: Vec<&ImageName> = image.names.iter().filter(|name| runtime.may_prune(name)).collect();
            (!names.is_empty()).then(|| group(question, image, names))
        })
        .collect();
    let newest = groups.iter().filter_map(|group| group.deployed).max();
    groups.sort_by_key(|group| {
        let leads = group.deployed.is_some() && group.deployed == newest;
        (Reverse(leads), Reverse(group.place), Reverse(group.image.created), group.image.id)
    });
    groups
}

fn group<'a>(question: &PruneQuestion<'_>, image: &'a Image, names: Vec<&'a ImageName>) -> Group<'a> {
    let found: Vec<Option<&NameHistory>> = names.iter().map(|name| question.history.get(*name)).collect();
    let records = || found.iter().copied();
    let age = records().map(|r| r.map_or(Duration::ZERO, |r| r.age(question.now))).min().unwrap_or_default();
    Group {
        age,
        deployed: records().flatten().filter_map(|r| r.deployed.map(|(number, _)| number)).max(),
        first_seen: records().map(|r| r.map_or(question.now, |r| r.first_seen)).max().unwrap_or(question.now),
        place: records().map(|r| r.map_or(u64::MAX, |r| r.place)).max().unwrap_or(u64::MAX),
        image,
        names,
    }
}
