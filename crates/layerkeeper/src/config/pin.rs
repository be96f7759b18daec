//! Writes a pin into the text of a configuration, or takes it out, and touches nothing else of it.
//!
//! The text is not written anew from what was parsed, as `toml_edit` would (it turns CRLF into LF): the parser's spans say
//! where the value stands, and only there is the text cut. What comes out is read back before anybody gets it.

use std::ops::Range;
use std::path::Path;

use layerkeeper_core::{Digest, ImageName};
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
    image: ImageName,
    index: usize,
    /// What it is pinned to.
    pub pin: Option<Digest>,
    spans: Spans,
}

/// Where things stand in the text.
#[derive(Debug)]
struct Spans {
    /// The image's value.
    image: Range<usize>,
    /// The digest's key and value.
    digest: Option<(Range<usize>, Range<usize>)>,
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
        image: Box<ImageName>,
        /// What is.
        kept: Vec<ImageName>,
    },
    /// The block stands in a form in which the edit came out wrong.
    #[error(
        "line {line}: the block of {image} is written in a way that cannot be changed safely ({why}); change it by hand"
    )]
    Shape {
        /// Which.
        image: Box<ImageName>,
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

fn listed(kept: &[ImageName]) -> String {
    match kept {
        [] => "the configuration keeps none".to_owned(),
        _ => format!("kept are {}", kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl<'t> PinPlace<'t> {
    /// Finds the block of `image`, in whatever spelling, in a configuration that is good as a whole.
    ///
    /// # Errors
    /// It is not good, or keeps no such image.
    pub fn find(
        text: &'t str,
        file: &'t Path,
        environment: &'t Environment,
        image: &ImageName,
    ) -> Result<Self, PinError> {
        let config = Config::parse(text, file, environment)?;
        let keep = &config.settings.policy.keep;
        let not_kept = || PinError::NotKept {
            image: Box::new(image.clone()),
            kept: keep.iter().map(|keep| keep.image.clone()).collect(),
        };
        let (index, spans) = spans_of(text, image).ok_or_else(not_kept)?;
        let pin = keep.iter().find(|keep| keep.image == *image).ok_or_else(not_kept)?.pin;
        Ok(Self { text, file, environment, image: image.clone(), index, pin, spans })
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
        if pin == self.pin {
            return Ok(None);
        }
        let (range, replacement) = match (pin, &self.spans.digest) {
            (Some(digest), Some((_, value))) => (value.clone(), self.quoted(value, digest)),
            (Some(digest), None) if self.spans.inline => {
                let end = self.spans.image.end;
                (end..end, format!(", digest = \"{digest}\""))
            }
            (Some(digest), None) => self.new_line(digest),
            (None, Some((key, value))) => self.without(key, value),
            (None, None) => return Ok(None),
        };
        let text = [&self.text[..range.start], &replacement, &self.text[range.end..]].concat();
        let wrong = |why: String| PinError::Shape { image: Box::new(self.image.clone()), line: self.line(), why };
        self.judge(&text, pin).map_err(wrong)?;
        Ok(Some(difference(self.text, text)))
    }

    /// In the quotes that stand there.
    fn quoted(&self, value: &Range<usize>, digest: Digest) -> String {
        if self.text[value.clone()].starts_with('\'') { format!("'{digest}'") } else { format!("\"{digest}\"") }
    }

    /// A line of its own below the image's, indented like it and ended like it.
    fn new_line(&self, digest: Digest) -> (Range<usize>, String) {
        let text = self.text;
        let line = line_around(text, self.spans.image.clone());
        let indent: String = text[line.clone()].chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
        let new = format!("{indent}digest = \"{digest}\"");
        if text[line.clone()].ends_with('\n') {
            (line.end..line.end, format!("{new}{}", ending(&text[line])))
        } else {
            (line.end..line.end, format!("{}{new}", ending(text.split_inclusive('\n').next().unwrap_or_default())))
        }
    }

    /// The digest's line without it; a comment on it stays where it is.
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

    /// Is it a good configuration, and the same one but for this pin?
    fn judge(&self, text: &str, pin: Option<Digest>) -> Result<(), String> {
        Config::parse(text, self.file, self.environment).map_err(|error| error.to_string())?;
        let table = |text: &str| text.parse::<toml::Table>().map_err(|error| error.to_string());
        let (mut old, new) = (table(self.text)?, table(text)?);
        let block = old.get_mut("keep").and_then(|keep| keep.get_mut(self.index)).and_then(toml::Value::as_table_mut);
        let block = block.ok_or("its block was not found again")?;
        match pin {
            Some(digest) => block.insert("digest".to_owned(), digest.to_string().into()),
            None => block.remove("digest"),
        };
        if old == new { Ok(()) } else { Err("more than the digest would change".to_owned()) }
    }
}

/// The first block with this image, and its number among all.
fn spans_of(text: &str, image: &ImageName) -> Option<(usize, Spans)> {
    let root = DeTable::parse(text).ok()?.into_inner();
    let DeValue::Array(blocks) = root.get("keep")?.get_ref() else { return None };
    blocks.iter().enumerate().find_map(|(index, block)| {
        let DeValue::Table(entries) = block.get_ref() else { return None };
        let named = entries.get("image")?;
        (value::image(named.get_ref().as_str()?).ok()? == *image).then(|| {
            let digest = entries.get_key_value("digest").map(|(key, value)| (key.span(), value.span()));
            let inline = braces(text, block);
            (index, Spans { image: named.span(), digest, inline })
        })
    })
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
