//! Versions by quarter: a kept image whose tag has the quarter in it, such as `cache-python-{quarter}`.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::expect::Expect;
use crate::policy::Keep;
use crate::reference::{ImageName, ReferenceError, Repository, Tag};

/// What stands in a tag for the quarter.
pub const QUARTER: &str = "{quarter}";

/// So many quarters back from today a series begins of which none is here yet.
const FIRST_LOOK: usize = 9;

/// A quarter of a year, from `2000q1` to `2999q4`; a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quarter {
    year: u16,
    /// From 1 to 4.
    number: u8,
}

/// Why a text is not a quarter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quarter: a year from 2000 on, \"q\" and a number from 1 to 4, such as 2026q4")]
pub struct QuarterError(String);

/// A tag with a place for the quarter, in its repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Template {
    repository: Repository,
    before: String,
    after: String,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not once in the tag.
    #[error("{{quarter}} must stand once, and in the tag")]
    Place,
    /// The rest of it is wrong, or the tag that it makes is.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// A kept image of which every quarter brings another one. One of them is wanted; the one before stays kept until the
/// wanted one is verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its name in every quarter.
    pub template: Template,
    /// The quarter to stay at, or to go back to; none follows the newest that the registry has.
    pub quarter: Option<Quarter>,
    /// The only digest that the image of that `quarter` may have, where the operator pinned it.
    pub pin: Option<Digest>,
    /// What must be in the image of every quarter.
    pub expect: Vec<Expect>,
}

/// The quarters of a series that a host is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quarters {
    /// The one to be here: the newest that the registry had when it was last asked.
    pub wanted: Option<Quarter>,
    /// The one that was last verified here as the wanted one.
    pub current: Option<Quarter>,
}

/// A kept image as people name it: by its name, or as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptName {
    /// A name.
    Image(ImageName),
    /// All of a series.
    Series(Template),
}

impl Quarter {
    /// The quarter of a month, from 1 to 12. One that lies outside of what a quarter can be is the nearest that can.
    pub fn of(year: i32, month: u32) -> Self {
        match year {
            ..2000 => Self { year: 2000, number: 1 },
            2000..3000 => Self { year: year as u16, number: month.clamp(1, 12).div_ceil(3) as u8 },
            3000.. => Self { year: 2999, number: 4 },
        }
    }

    /// The one before.
    pub fn previous(self) -> Option<Self> {
        match (self.year, self.number) {
            (2000, 1) => None,
            (year, 1) => Some(Self { year: year - 1, number: 4 }),
            (year, number) => Some(Self { year, number: number - 1 }),
        }
    }

    /// Every one, the newest first.
    pub fn all() -> impl Iterator<Item = Self> {
        Self { year: 2999, number: 4 }.and_before()
    }

    /// This one and those before it, the newest first.
    pub fn and_before(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |quarter| quarter.previous())
    }
}

/// The quarters that may take the place of `current`, the newest first: those after it, up to today's; where there is none
/// yet, today's and the eight before it.
pub fn candidates(today: Quarter, current: Option<Quarter>) -> impl Iterator<Item = Quarter> {
    let most = if current.is_some() { usize::MAX } else { FIRST_LOOK };
    today.and_before().take_while(move |quarter| Some(*quarter) > current).take(most)
}

impl Template {
    /// Where it is.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Its name in this quarter.
    pub fn name(&self, quarter: Quarter) -> ImageName {
        // every quarter has six characters that fit a tag, and with one of them the tag was checked
        self.repository.tagged(Tag::checked(format!("{}{quarter}{}", self.before, self.after)))
    }

    /// The quarter whose name this is.
    pub fn quarter_of(&self, name: &ImageName) -> Option<Quarter> {
        let tag = name.tag.as_str().strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        tag.parse().ok().filter(|_| name.repository == self.repository)
    }
}

impl Series {
    /// The quarter that is to be here; today's while nobody knows of one.
    pub fn wanted(&self, at: Quarters, today: Quarter) -> Quarter {
        self.quarter.or(at.wanted).or(at.current).unwrap_or(today)
    }

    /// What is kept of it: the wanted one first, and the current one until the wanted one has taken its place.
    pub fn kept(&self, at: Quarters, today: Quarter) -> impl Iterator<Item = Keep> {
        let wanted = self.wanted(at, today);
        let current = at.current.filter(|current| *current != wanted);
        std::iter::once(wanted).chain(current).map(|quarter| self.keep(quarter))
    }

    /// Is the wanted one here, and can there be no newer one?
    pub fn is_settled(&self, at: Quarters, today: Quarter) -> bool {
        at.current == Some(self.wanted(at, today)) && (self.quarter.is_some() || at.current >= Some(today))
    }

    /// This quarter's image, as it is kept.
    pub fn keep(&self, quarter: Quarter) -> Keep {
        let pin = self.pin.filter(|_| self.quarter == Some(quarter));
        Keep { image: self.template.name(quarter), pin, expect: self.expect.clone() }
    }
}

impl FromStr for Quarter {
    type Err = QuarterError;

    fn from_str(text: &str) -> Result<Self, QuarterError> {
        let read = || {
            let (year, number) = text.split_once('q')?;
            let digits = year.len() == 4
                && number.len() == 1
                && (year.bytes().chain(number.bytes())).all(|c| c.is_ascii_digit());
            let (year, number) = (year.parse().ok()?, number.parse().ok()?);
            (digits && (2000..=2999).contains(&year) && (1..=4).contains(&number)).then_some(Self { year, number })
        };
        read().ok_or_else(|| QuarterError(text.to_owned()))
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    /// Reads `repository:tag-{quarter}`.
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let sample = Quarter::of(2000, 1).to_string();
        let name = || text.replacen(QUARTER, &sample, 1).parse::<ImageName>();
        let Some((before, after)) = text.split_once(QUARTER) else { return Err(TemplateError::Place) };
        if after.contains([':', '/']) || after.contains(QUARTER) {
            return Err(TemplateError::Place);
        }
        let Some((_, before)) = before.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else {
            return Err(TemplateError::Place);
        };
        let ImageName { repository, .. } = name()?;
        Ok(Self { repository, before: before.to_owned(), after: after.to_owned() })
    }
}

impl FromStr for KeptName {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.contains(QUARTER) { text.parse().map(Self::Series) } else { Ok(Self::Image(text.parse()?)) }
    }
}

impl fmt::Display for KeptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(name) => name.fmt(f),
            Self::Series(template) => template.fmt(f),
        }
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}q{}", self.year, self.number)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{QUARTER}{}", self.repository, self.before, self.after)
    }
}

#[cfg(test)]
mod tests;
