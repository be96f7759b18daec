//! Writes a pin into the text of a configuration, a digest or a quarter, or takes it out, and touches nothing else of it.
//!
//! The text is not written anew from what was parsed, as `toml_edit` would (it turns CRLF into LF): the parser's spans say
//! where the value stands, and only there is the text cut. What comes out is read back before anybody gets it.

use std::ops::Range;
use std::path::Path;

use layerkeeper_core::{Digest, KeptName, Quarter};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::problem::ConfigError;
use super::{Config, value};

/// A kept image's block in the text of a configuration.
#[derive(Debug)]
pub struct PinPlace<'t> {
    text: &'t str,
    file: &'t Path,
    environment: &'t Environment,
    /// The image as the block names it.
    pub named: KeptName,
    index: usize,
    /// What it is pinned to.
    pub pin: Option<Digest>,
    /// The quarter that it stays at.
    pub quarter: Option<Quarter>,
    spans: Spans,
}

/// Where a key and its value stand; none where they are not there.
type Entry = Option<(Range<usize>, Range<usize>)>;

/// Where things stand in the text.
#[derive(Debug, Clone)]
struct Spans {
    /// The image's value.
    image: Range<usize>,
    /// Key and value of the pin.
    digest: Entry,
    /// The same of the quarter.
    quarter: Entry,
    /// The block is written in braces.
    inline: bool,
}

/// A changed text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole of it.
    pub text: String,
    /// The line that changed, from 1.
    pub line: usize,
    /// It before; none where it is new.
    pub before: Option<String>,
    /// It now; none where it went.
    pub after: Option<String>,
}

/// Why a pin cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The configuration is bad as it is.
    #[error("{0}")]
    Bad(#[from] ConfigError),
    /// No block keeps this image.
    #[error("{image} is not a kept image; {}", listed(.kept))]
    NotKept {
        /// Which.
        image: Box<KeptName>,
        /// What is.
        kept: Vec<KeptName>,
    },
    /// The block stands in a form in which the edit came out wrong.
    #[error(
        "line {line}: the block of {image} is written in a way that cannot be changed safely ({why}); change it by hand"
    )]
    Shape {
        /// Which.
        image: Box<KeptName>,
        /// Where its image stands.
        line: usize,
        /// What went wrong.
        why: String,
    },
}

impl PinError {
    /// May it succeed later without anybody's doing?
    pub fn is_transient(&self) -> bool {
        false
    }
}

fn listed(kept: &[KeptName]) -> String {
    match kept {
        [] => "the configuration keeps none".to_owned(),
        _ => format!("kept are {}", kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl<'t> PinPlace<'t> {
    /// Finds the block that `named` names, in whatever spelling, or as one of its quarters, in a configuration that is good as a whole.
    ///
    /// # Errors
    /// It is not good, or keeps no such image.
    pub fn find(
        text: &'t str,
        file: &'t Path,
        environment: &'t Environment,
        named: &KeptName,
    ) -> Result<Self, PinError> {
        let config = Config::parse(text, file, environment)?;
        let blocks = blocks_of(text);
        let Some((index, what, spans)) = blocks.iter().find(|(_, what, _)| is_named(what, named)) else {
            let kept = blocks.into_iter().map(|(_, what, _)| what).collect();
            return Err(PinError::NotKept { image: Box::new(named.clone()), kept });
        };
        let series = config.settings.series.iter().map(|of| &of.series);
        let series = series.into_iter().find(|series| *what == KeptName::Series(series.template.clone()));
        let keep = config.settings.policy.keep.iter().find(|keep| *what == KeptName::Image(keep.image.clone()));
        let pin = series.and_then(|series| series.pin).or(keep.and_then(|keep| keep.pin));
        let (named, spans) = (what.clone(), spans.clone());
        let quarter = series.and_then(|series| series.quarter);
        Ok(Self { text, file, environment, named, index: *index, pin, quarter, spans })
    }

    /// The line in which the image stands, from 1.
    pub fn line(&self) -> usize {
        line_of(self.text, self.spans.image.start)
    }

    /// The text with another pin, or with none; none where it says so already.
    ///
    /// # Errors
    /// The block's form is beyond us: what came out would not be the same configuration but for the pin.
    pub fn edit(&self, pin: Option<Digest>) -> Result<Option<Edited>, PinError> {
        if pin == self.pin { Ok(None) } else { self.set("digest", &self.spans.digest, pin.map(|pin| pin.to_string())) }
    }

    /// The text with another quarter to stay at, or with none; none where it says so already.
    ///
    /// # Errors
    /// As above.
    pub fn edit_quarter(&self, quarter: Option<Quarter>) -> Result<Option<Edited>, PinError> {
        if quarter == self.quarter {
            return Ok(None);
        }
        self.set("quarter", &self.spans.quarter, quarter.map(|quarter| quarter.to_string()))
    }

    fn set(&self, key: &str, at: &Entry, value: Option<String>) -> Result<Option<Edited>, PinError> {
        let (range, replacement) = match (&value, at) {
            (Some(new), Some((_, old))) => (old.clone(), self.quoted(old, new)),
            (Some(new), None) if self.spans.inline => {
                let end = self.spans.image.end;
                (end..end, format!(", {key} = \"{new}\""))
            }
            (Some(new), None) => self.new_line(key, new),
            (None, Some((key, old))) => self.without(key, old),
            (None, None) => return Ok(None),
        };
        let text = [&self.text[..range.start], &replacement, &self.text[range.end..]].concat();
        let wrong = |why: String| PinError::Shape { image: Box::new(self.named.clone()), line: self.line(), why };
        self.judge(&text, key, value).map_err(wrong)?;
        Ok(Some(difference(self.text, text)))
    }

    /// In the quotes that stand there.
    fn quoted(&self, old: &Range<usize>, new: &str) -> String {
        if self.text[old.clone()].starts_with('\'') { format!("'{new}'") } else { format!("\"{new}\"") }
    }

    /// A line of its own below the image's, indented like it and ended like it.
    fn new_line(&self, key: &str, value: &str) -> (Range<usize>, String) {
        let text = self.text;
        let line = line_around(text, self.spans.image.clone());
        let indent: String = text[line.clone()].chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
        let new = format!("{indent}{key} = \"{value}\"");
        if text[line.clone()].ends_with('\n') {
            (line.end..line.end, format!("{new}{}", ending(&text[line])))
        } else {
            (line.end..line.end, format!("{}{new}", ending(text.split_inclusive('\n').next().unwrap_or_default())))
        }
    }

    /// The key's line without it; a comment on it stays where it is.
    fn without(&self, key: &Range<usize>, value: &Range<usize>) -> (Range<usize>, String) {
        let text = self.text;
        let line = line_around(text, key.start..value.end);
        let (before, after) = (&text[line.start..key.start], &text[value.end..line.end]);
        let rest = after.trim_start_matches([' ', '\t', ',']);
        if before.trim().is_empty() && (rest.trim().is_empty() || rest.starts_with('#')) {
            let comment = if rest.starts_with('#') { format!("{before}{rest}") } else { String::new() };
            return (line, comment);
        }
        // in braces with other keys beside it: one comma goes with it
        let blank = |c: char| matches!(c, ' ' | '\t');
        let kept = text[..key.start].trim_end_matches(blank);
        if kept.ends_with(',') {
            return (kept.len() - 1..value.end, String::new());
        }
        let comma = after.trim_start_matches(blank);
        let behind = comma.strip_prefix(',').map_or(comma, |behind| behind.trim_start_matches(blank));
        (key.start..line.end - behind.len(), String::new())
    }

    /// Is it a good configuration, and the same one but for this key?
    fn judge(&self, text: &str, key: &str, value: Option<String>) -> Result<(), String> {
        Config::parse(text, self.file, self.environment).map_err(|error| error.to_string())?;
        let table = |text: &str| text.parse::<toml::Table>().map_err(|error| error.to_string());
        let (mut old, new) = (table(self.text)?, table(text)?);
        let block = old.get_mut("keep").and_then(|keep| keep.get_mut(self.index)).and_then(toml::Value::as_table_mut);
        let block = block.ok_or("its block was not found again")?;
        match value {
            Some(value) => block.insert(key.to_owned(), value.into()),
            None => block.remove(key),
        };
        if old == new { Ok(()) } else { Err(format!("more than the {key} would change")) }
    }
}

/// Every block with its number, what it keeps and where that stands.
fn blocks_of(text: &str) -> Vec<(usize, KeptName, Spans)> {
    let Ok(root) = DeTable::parse(text) else { return Vec::new() };
    let root = root.into_inner();
    let Some(DeValue::Array(blocks)) = root.get("keep").map(|keep| keep.get_ref()) else { return Vec::new() };
    let read = |(index, block): (usize, &Spanned<DeValue<'_>>)| {
        let DeValue::Table(entries) = block.get_ref() else { return None };
        let named = entries.get("image")?;
        let what = value::kept(named.get_ref().as_str()?).ok()?;
        let entry = |key: &str| entries.get_key_value(key).map(|(key, value)| (key.span(), value.span()));
        let (digest, quarter) = (entry("digest"), entry("quarter"));
        Some((index, what, Spans { image: named.span(), digest, quarter, inline: braces(text, block) }))
    };
    blocks.iter().enumerate().filter_map(read).collect()
}

/// Does an operator mean this block?
fn is_named(what: &KeptName, named: &KeptName) -> bool {
    match (what, named) {
        (KeptName::Series(template), KeptName::Image(image)) => template.quarter_of(image).is_some(),
        (what, named) => what == named,
    }
}

fn braces(text: &str, block: &Spanned<DeValue<'_>>) -> bool {
    text.get(block.span()).is_some_and(|block| block.starts_with('{'))
}

/// The lines that a part of the text stands in, the last one's ending included.
fn line_around(text: &str, part: Range<usize>) -> Range<usize> {
    let start = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[part.end..].find('\n').map_or(text.len(), |at| part.end + at + 1);
    start..end
}

fn line_of(text: &str, byte: usize) -> usize {
    text[..byte].matches('\n').count() + 1
}

fn ending(line: &str) -> &'static str {
    if line.ends_with("\r\n") { "\r\n" } else { "\n" }
}

/// The first line in which two texts differ, and what became of it.
fn difference(old: &str, new: String) -> Edited {
    let (before, after): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let line = |lines: &[&str]| lines.get(same).map(|line| (*line).to_owned());
    let (gone, come) = match before.len().cmp(&after.len()) {
        std::cmp::Ordering::Less => (None, line(&after)),
        std::cmp::Ordering::Equal => (line(&before), line(&after)),
        std::cmp::Ordering::Greater => (line(&before), None),
    };
    Edited { line: same + 1, before: gone, after: come, text: new }
}

#[cfg(test)]
mod tests;
