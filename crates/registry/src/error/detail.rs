//! The registry's own words in an error, made safe to print.

use std::fmt;

use serde::Deserialize;

const MOST: usize = 200;

/// What the registry said about a refusal: `errors[].code` and `.message` of its JSON, at most 200 printable
/// characters, without the queries of addresses. Shows nothing when it said nothing, else a colon and the words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail(Option<String>);

/// The error body of the OCI distribution specification; token servers answer as RFC 6749 says, or with less.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Entry>,
    #[serde(alias = "error_description", alias = "details")]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    code: Option<String>,
    message: Option<String>,
}

impl Detail {
    /// The words, if there are any.
    pub fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// Reads a body; what is not the JSON of an error says nothing. No text of `secrets` is shown.
    pub(crate) fn read<'a>(body: &[u8], secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let Ok(body) = serde_json::from_slice::<Body>(body) else { return Self(None) };
        let mut words: Vec<String> = body.errors.into_iter().take(4).filter_map(Entry::words).collect();
        words.extend(body.message);
        let mut text = words.join("; ");
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            text = text.replace(secret, "[redacted]");
        }
        let text = quotable(&text, MOST);
        Self((!text.is_empty()).then_some(text))
    }
}

impl Entry {
    fn words(self) -> Option<String> {
        match (self.code, self.message) {
            (Some(code), Some(message)) => Some(format!("{code}: {message}")),
            (code, message) => code.or(message),
        }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

/// As [`printable`], and without what is secret in addresses.
pub(crate) fn quotable(text: &str, most: usize) -> String {
    printable(&without_queries(text), most)
}

/// At most `most` characters, control characters and line ends as spaces, a cut shown by `…`.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let clean = |c: char| if c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c) { ' ' } else { c };
    let mut chars = text.trim().chars();
    let mut out: String = chars.by_ref().take(most).map(clean).collect();
    if chars.next().is_some() {
        out.pop();
        out.push('…');
    }
    out
}

/// Signatures travel in the queries of addresses, passwords before their `@`.
fn without_queries(text: &str) -> String {
    text.split(' ')
        .map(|word| match word.split_once("://") {
            Some((scheme, rest)) => {
                let rest = rest.split_once('?').map_or(rest.to_owned(), |(path, _)| format!("{path}?…"));
                let rest = rest.rsplit_once('@').map_or(rest.clone(), |(_, host)| host.to_owned());
                format!("{scheme}://{rest}")
            }
            None => word.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> String {
        Detail::read(body.as_bytes(), ["hunter2"]).to_string()
    }

    #[test]
    fn the_registrys_words_are_taken_from_its_json() {
        let oci = r#"{"errors":[{"code":"DENIED","message":"no access","detail":{}},{"code":"X"}]}"#;
        assert_eq!(read(oci), ": DENIED: no access; X");
        assert_eq!(read(r#"{"details":"incorrect username or password"}"#), ": incorrect username or password");
        assert_eq!(read("<html>502</html>"), "");
        assert_eq!(read(""), "");
    }

    #[test]
    fn no_secret_and_no_signed_address_is_shown() {
        let shown = read(r#"{"message":"hunter2 at https://u:p@s3.example/b?X-Amz-Signature=abc is bad"}"#);
        assert_eq!(shown, ": [redacted] at https://s3.example/b?… is bad");
    }

    #[test]
    fn long_and_strange_text_is_cut_and_cleaned() {
        let shown = read(&format!(r#"{{"message":"a\nb\u001b[31m{}"}}"#, "x".repeat(500)));
        assert!(shown.starts_with(": a b [31mxxx") && shown.ends_with('…'), "{shown}");
        assert_eq!(shown.chars().count(), 2 + MOST);
    }
}
