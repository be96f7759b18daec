//! Tag patterns of the policy: literal text with `*` for any run of characters and `?` for one.

use std::fmt;
use std::str::FromStr;

use crate::reference::Tag;

/// A glob over tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagPattern(String);

/// Why a text is not a tag pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Too little literal text in front: it would name almost every tag.
    #[error(
        "the pattern {0:?} must begin with at least two literal characters, like \"sha-*\"; it may not name every tag"
    )]
    NoPrefix(String),
    /// A character that no tag can have.
    #[error("the pattern {0:?} holds a character that no tag can have")]
    Character(String),
}

impl TagPattern {
    /// Does this tag match?
    pub fn matches(&self, tag: &Tag) -> bool {
        glob(self.0.as_bytes(), tag.as_str().as_bytes())
    }

    /// The same pattern, held to the rule for patterns that may remove something: a literal prefix of two characters.
    pub fn with_literal_prefix(self) -> Result<Self, PatternError> {
        let literal = self.0.find(['*', '?']).unwrap_or(self.0.len());
        if literal >= 2 { Ok(self) } else { Err(PatternError::NoPrefix(self.0)) }
    }
}

/// Does the whole text match? Classic two-pointer glob: on a mismatch, go back to the last star and let it take one character more.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    p = star;
                    t = from + 1;
                    retry = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

impl FromStr for TagPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"_.-*?".contains(&c);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(PatternError::Character(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, tag: &str) -> bool {
        pattern.parse::<TagPattern>().unwrap().matches(&tag.parse().unwrap())
    }

    #[test]
    fn stars_take_any_run_and_question_marks_one_character() {
        assert!(matches("sha-*", "sha-1a2b"));
        assert!(matches("sha-*", "sha-"));
        assert!(!matches("sha-*", "xsha-1"));
        assert!(matches("v?.*-rc*", "v1.2.3-rc4"));
        assert!(!matches("v?.*-rc*", "v12.3"));
        assert!(matches("a*b*c", "axxbxbxc"));
        assert!(!matches("a*b*c", "axxbxbx"));
    }

    #[test]
    fn a_pattern_that_may_remove_needs_two_literal_characters() {
        let strict = |p: &str| p.parse::<TagPattern>().and_then(TagPattern::with_literal_prefix);
        assert!(strict("sha-*").is_ok());
        assert!(matches!(strict("*"), Err(PatternError::NoPrefix(_))));
        assert!(matches!(strict("s*"), Err(PatternError::NoPrefix(_))));
        assert!(matches!(strict("sha/*"), Err(PatternError::Character(_))));
    }
}
