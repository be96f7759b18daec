//! `[[keep]]`, `[[runtime]]` and `[disk]`: what is kept, deployed and pruned, and how these fit together.

use chrono_tz::Tz;
use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{ImageName, Keep, KeptName, Quarter, Runtime, Series};
use layerkeeper_keeper::{KeepSchedule, KeepSeries};

use super::expect;
use super::problem::{Place, Problem, Wrong};
use super::schedule::{self, Line};
use super::section::Section;
use super::value;

/// A `[[keep]]` block: an image or a series of them, with its schedule.
pub struct Kept {
    what: What,
    pub schedule: Option<KeepSchedule>,
    line: Place,
}

enum What {
    Image(Keep),
    Series(Series),
}

/// A runtime block and where it stands.
pub struct Block {
    pub runtime: Runtime,
    line: Place,
}

/// A `[[keep]]` block; none where its image is wrong. The defaults are none where they are wrong.
pub fn keep(section: &Section<'_, '_>, default_line: Option<&Line>, default_zone: Option<Tz>) -> Option<Kept> {
    let named = section.text("image", value::kept);
    let pin = section.text("digest", value::maybe(value::digest)).flatten();
    let expect = if section.has("expect") { section.values("expect", expect::one) } else { Some(Vec::new()) };
    let line = if section.has("schedule") { section.text("schedule", schedule::line) } else { default_line.cloned() };
    let zone = if section.has("timezone") { section.text("timezone", schedule::timezone) } else { default_zone };
    let expect = expect?;
    let quarter = section.has("quarter").then(|| section.text("quarter", value::quarter));
    let what = match named? {
        KeptName::Image(image) => {
            if quarter.is_some() {
                let wrong = format!("{image} has no {{quarter}} in its tag, so there is none to stay at");
                section.report("quarter", Wrong::new(wrong, "write {quarter} in the tag, or leave this key out"));
            }
            What::Image(Keep { image, pin, expect })
        }
        KeptName::Series(template) => {
            if pin.is_some() && quarter.is_none() {
                let wrong = "a digest names the content of one quarter, and the tag follows all of them";
                section.report("digest", Wrong::new(wrong, "write quarter = \"2026q3\" too, or leave the digest out"));
            }
            What::Series(Series { template, quarter: quarter.flatten(), pin, expect })
        }
    };
    let sample = what.names().next()?;
    let schedule = line.zip(zone).map(|(line, zone)| line.of(&sample, zone));
    Some(Kept { line: section.place_of("image"), what, schedule })
}

impl What {
    /// Every name that it may have.
    fn names(&self) -> Box<dyn Iterator<Item = ImageName> + '_> {
        match self {
            Self::Image(keep) => Box::new(std::iter::once(keep.image.clone())),
            Self::Series(series) => Box::new(Quarter::all().map(|quarter| series.template.name(quarter))),
        }
    }

    fn has(&self, name: &ImageName) -> bool {
        match self {
            Self::Image(keep) => keep.image == *name,
            Self::Series(series) => series.template.quarter_of(name).is_some(),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Image(keep) => keep.image.to_string(),
            Self::Series(series) => series.template.to_string(),
        }
    }
}

/// What is kept, in the order of the file.
#[derive(Default)]
pub struct Keeping {
    pub images: Vec<Keep>,
    pub schedules: Vec<KeepSchedule>,
    pub series: Vec<KeepSeries>,
}

impl Keeping {
    /// Of these blocks.
    pub fn of(kept: Vec<Kept>) -> Self {
        let mut keeping = Self::default();
        for Kept { what, schedule, .. } in kept {
            match what {
                What::Image(keep) => {
                    keeping.images.push(keep);
                    keeping.schedules.extend(schedule);
                }
                What::Series(series) => {
                    keeping.series.push(KeepSeries { series, after: keeping.images.len(), schedule });
                }
            }
        }
        keeping
    }
}

/// A `[[runtime]]` block; none where something in it is wrong.
pub fn runtime(section: &Section<'_, '_>) -> Option<Block> {
    let repository = section.text("repository", value::repository);
    let prune_tags = section.list("prune_tags", value::strict_pattern);
    let deploy_tags =
        if section.has("deploy_tags") { section.list("deploy_tags", value::pattern) } else { prune_tags.clone() };
    if deploy_tags.as_ref().is_some_and(Vec::is_empty) {
        let wrong = Wrong::new("with an empty list nothing could ever be deployed", "write deploy_tags = [\"sha-*\"]");
        section.report("deploy_tags", wrong);
    }
    let keep_last = section.whole("keep_last", 1);
    let keep_min =
        if section.has("keep_min") { section.whole("keep_min", 1) } else { keep_last.map(|last| last.min(2)) };
    if let (Some(last), Some(min)) = (keep_last, keep_min)
        && min > last
    {
        let wrong = format!("keep_min = {min} is more than keep_last = {last}");
        section.report("keep_min", Wrong::new(wrong, format!("write a number from 1 to {last}")));
    }
    let min_age = section.text("min_age", value::duration);
    let download_budget = section.text("download_budget", value::size);
    let download_limit =
        if section.has("download_limit") { section.text("download_limit", value::size).map(Some) } else { Some(None) };
    if let (Some(budget), Some(Some(limit))) = (download_budget, download_limit)
        && limit < budget
    {
        let wrong = format!("a limit of {limit} refuses what the download_budget of {budget} allows");
        section.report("download_limit", Wrong::new(wrong, "write a limit that is not below the budget"));
    }
    Some(Block {
        line: section.place_of("repository"),
        runtime: Runtime {
            repository: repository?,
            deploy_tags: deploy_tags?,
            prune_tags: prune_tags?,
            keep_last: usize::try_from(keep_last?).ok()?,
            keep_min: usize::try_from(keep_min?).ok()?,
            min_age: min_age?,
            download_budget: download_budget?,
            download_limit: download_limit?,
        },
    })
}

/// `disk.remove_superseded`.
pub fn remove_superseded(text: &str) -> Result<RemoveSuperseded, Wrong> {
    match text {
        "never" => Ok(RemoveSuperseded::Never),
        "on-pressure" => Ok(RemoveSuperseded::OnPressure),
        _ => value::duration(text).map(RemoveSuperseded::After).map_err(|_| {
            Wrong::new(
                format!("\"{text}\" is none of the three"),
                "write \"never\", \"on-pressure\" or an age such as \"7d\"",
            )
        }),
    }
}

/// What no single block shows: images kept twice, repositories described twice, kept images that would be pruned.
/// Each finding comes with its place and key.
pub fn conflicts(kept: &[Kept], blocks: &[Block]) -> Vec<Problem> {
    let mut found = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let repository = &block.runtime.repository;
        if let Some(first) = blocks[..index].iter().find(|other| other.runtime.repository == *repository) {
            let wrong = format!("{repository} has a block already{}", in_line(first.line));
            found.push(Wrong::new(wrong, "write one block per repository").at(block.line, "runtime.repository"));
        }
    }
    for (index, item) in kept.iter().enumerate() {
        let image = item.what.shown();
        if let Some(first) = kept[..index].iter().find(|other| item.what.names().any(|name| other.what.has(&name))) {
            let wrong = match first.what.shown() {
                same if same == image => format!("{image} is kept already{}", in_line(first.line)),
                other => format!("{image} and {other}{} have names in common", in_line(first.line)),
            };
            found.push(Wrong::new(wrong, "remove one of the two blocks").at(item.line, "keep.image"));
        }
        for block in blocks {
            let Some(name) = item.what.names().find(|name| block.runtime.may_prune(name)) else { continue };
            let matching = block.runtime.prune_tags.iter().find(|pattern| pattern.matches(&name.tag));
            let pattern = matching.map(ToString::to_string).unwrap_or_default();
            let wrong = format!(
                "{image} is to be kept, but the pattern \"{pattern}\" in prune_tags of its repository{} may prune it",
                in_line(block.line)
            );
            found.push(
                Wrong::new(wrong, "give the kept image another tag, or narrow the pattern").at(item.line, "keep.image"),
            );
        }
    }
    found
}

fn in_line(place: Place) -> String {
    match place {
        Place::Line(line) => format!(" (line {line})"),
        Place::File | Place::Environment => String::new(),
    }
}
