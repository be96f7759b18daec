//! Reads tables key by key: types, defaults and unknown names are judged here, and every problem is collected.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::keys::{self, Fallback, Key};
use super::problem::{Place, Problem, Wrong};

/// Collects what is wrong, and the lines of the keys that are there.
#[derive(Debug, Default)]
pub struct Reader<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    lines: RefCell<BTreeMap<String, usize>>,
}

/// One table of the file; empty where the file has none.
#[derive(Debug, Clone, Copy)]
pub struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    name: &'static str,
    entries: Option<&'r DeTable<'t>>,
    place: Place,
}

/// A value and where it stands.
struct Found<'t> {
    value: DeValue<'t>,
    place: Place,
}

impl<'t> Reader<'t> {
    /// A reader of this text.
    pub fn new(text: &'t str) -> Self {
        Self { text, ..Self::default() }
    }

    /// Notes a problem.
    pub fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Everything found, and the line of every key that is there, by `table.key`.
    pub fn finish(self) -> (Vec<Problem>, BTreeMap<String, usize>) {
        (self.problems.into_inner(), self.lines.into_inner())
    }

    /// The line of a byte of the text.
    pub fn place(&self, byte: usize) -> Place {
        let before = self.text.as_bytes().iter().take(byte);
        Place::Line(before.filter(|byte| **byte == b'\n').count() + 1)
    }

    /// Notes what the TOML parser could not read.
    pub fn report_broken(&self, error: &toml::de::Error) {
        let start = error.span().map(|span| span.start);
        let line = start.map(|byte| line_around(self.text, byte)).unwrap_or_default();
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        let right = match error.message() {
            "duplicate key" => "remove one of the two".to_owned(),
            _ => "write KEY = \"text\", KEY = 5 or KEY = [\"a\", \"b\"]; texts stand in quotes".to_owned(),
        };
        let wrong = Wrong::new(error.message().replace('\n', ", "), right);
        self.report(wrong.at(start.map_or(Place::File, |byte| self.place(byte)), key));
    }

    /// The table with this name.
    pub fn section<'r>(&'r self, root: &'r DeTable<'t>, name: &'static str) -> Section<'r, 't> {
        let empty = Section { reader: self, name, entries: None, place: Place::File };
        let Some((key, value)) = root.get_key_value(name) else { return empty };
        match value.get_ref() {
            DeValue::Table(entries) => self.checked(entries, name, self.place(key.span().start)),
            other => {
                let found = if other.is_array() { "given more than once" } else { "not a table" };
                let wrong = Wrong::new(format!("this is {found}"), format!("write one table, [{name}]"));
                self.report(wrong.at(self.place(key.span().start), name));
                empty
            }
        }
    }

    /// The tables with this name, in double brackets, in the order of the file.
    pub fn sections<'r>(&'r self, root: &'r DeTable<'t>, name: &'static str) -> Vec<Section<'r, 't>> {
        let Some((key, value)) = root.get_key_value(name) else { return Vec::new() };
        let wrong = |span: usize| {
            let wrong = Wrong::new(
                "this block may stand several times",
                format!("write its head in double brackets, [[{name}]]"),
            );
            self.report(wrong.at(self.place(span), name));
        };
        let DeValue::Array(blocks) = value.get_ref() else {
            wrong(key.span().start);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for block in blocks.iter() {
            match block.get_ref() {
                DeValue::Table(entries) => {
                    sections.push(self.checked(entries, name, self.place(block.span().start)));
                }
                _ => wrong(block.span().start),
            }
        }
        sections
    }

    /// Reports the tables that nobody knows.
    pub fn check_tables(&self, root: &DeTable<'_>) {
        for name in root.keys() {
            if keys::TABLES.iter().any(|table| table.name == name.get_ref()) {
                continue;
            }
            let known = keys::TABLES.iter().map(|table| table.name);
            let right = match (nearest(name.get_ref(), known), keys::KEYS.iter().find(|key| key.name == name.get_ref()))
            {
                (_, Some(key)) => format!("it belongs in {}", bracketed(key.table)),
                (Some(near), None) => format!("did you mean {}?", bracketed(near)),
                (None, None) => {
                    let all: Vec<String> = keys::TABLES.iter().map(|table| bracketed(table.name)).collect();
                    format!("the tables are {}", all.join(", "))
                }
            };
            let wrong = Wrong::new("there is no such table or key", right);
            self.report(wrong.at(self.place(name.span().start), name.get_ref().as_ref()));
        }
    }

    fn checked<'r>(&'r self, entries: &'r DeTable<'t>, name: &'static str, place: Place) -> Section<'r, 't> {
        for key in entries.keys() {
            let at = self.place(key.span().start);
            let full = format!("{name}.{}", key.get_ref());
            if keys::find(name, key.get_ref()).is_some() {
                if let Place::Line(line) = at {
                    self.lines.borrow_mut().entry(full).or_insert(line);
                }
                continue;
            }
            let near = nearest(key.get_ref(), keys::of(name).map(|key| key.name));
            let elsewhere = keys::KEYS.iter().find(|other| other.name == key.get_ref());
            let right = match (elsewhere, near) {
                (Some(other), _) => format!("it belongs in {}", bracketed(other.table)),
                (None, Some(near)) => format!("did you mean \"{near}\"?"),
                (None, None) => {
                    let all: Vec<&str> = keys::of(name).map(|key| key.name).collect();
                    format!("{} takes {}", bracketed(name), all.join(", "))
                }
            };
            self.report(Wrong::new("there is no such key", right).at(at, full));
        }
        Section { reader: self, name, entries: Some(entries), place }
    }
}

impl<'t> Section<'_, 't> {
    /// Where this key stands, or where its table begins.
    pub fn place_of(&self, key: &str) -> Place {
        match self.entries.and_then(|entries| entries.get_key_value(key)) {
            Some((key, _)) => self.reader.place(key.span().start),
            None => self.place,
        }
    }

    /// Is this key there?
    pub fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// Notes a problem with this key.
    pub fn report(&self, key: &str, wrong: Wrong) {
        self.reader.report(wrong.at(self.place_of(key), format!("{}.{key}", self.name)));
    }

    /// A text, read by `parse`; none where it is wrong, which is then noted, or where there is neither value nor default.
    pub fn text<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        let found = self.find(key)?;
        let Some(text) = found.value.as_str() else { return self.mistyped(key, &found.value, found.place) };
        self.take(key, found.place, parse(text))
    }

    /// A whole number, at least `least`.
    pub fn whole(&self, key: &str, least: u64) -> Option<u64> {
        let found = self.find(key)?;
        let Some(integer) = found.value.as_integer() else { return self.mistyped(key, &found.value, found.place) };
        let shown = integer.to_string();
        let parsed = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|number| *number >= least);
        // the store counts in signed numbers
        let parsed = parsed.filter(|number| i64::try_from(*number).is_ok());
        let wrong =
            || Wrong::new(format!("{shown} is out of range"), format!("write a whole number of at least {least}"));
        self.take(key, found.place, parsed.ok_or_else(wrong))
    }

    /// True or false.
    pub fn truth(&self, key: &str) -> Option<bool> {
        let found = self.find(key)?;
        found.value.as_bool().or_else(|| self.mistyped(key, &found.value, found.place))
    }

    /// A list of texts, each read by `parse`.
    pub fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let found = self.find(key)?;
        let Some(items) = found.value.as_array() else { return self.mistyped(key, &found.value, found.place) };
        let read = |item: &DeValue<'_>, place| match item.as_str() {
            Some(text) => self.take(key, place, parse(text)),
            None => self.mistyped(key, item, place),
        };
        self.items(items, &found, read)
    }

    /// A list of values of another kind, each read by `parse`.
    pub fn values<T>(&self, key: &str, parse: impl Fn(&DeValue<'_>) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let found = self.find(key)?;
        let Some(items) = found.value.as_array() else { return self.mistyped(key, &found.value, found.place) };
        self.items(items, &found, |item, place| self.take(key, place, parse(item)))
    }

    fn items<T>(
        &self,
        items: &DeArray<'_>,
        found: &Found<'_>,
        take: impl Fn(&DeValue<'_>, Place) -> Option<T>,
    ) -> Option<Vec<T>> {
        let read = |item: &Spanned<DeValue<'_>>| {
            let place = if found.place == Place::File { Place::File } else { self.reader.place(item.span().start) };
            take(item.get_ref(), place)
        };
        // every item is read, so that every problem is noted
        let read: Vec<Option<T>> = items.iter().map(read).collect();
        read.into_iter().collect()
    }

    fn take<T>(&self, key: &str, place: Place, result: Result<T, Wrong>) -> Option<T> {
        result.map_err(|wrong| self.reader.report(wrong.at(place, format!("{}.{key}", self.name)))).ok()
    }

    fn mistyped<T>(&self, key: &str, value: &DeValue<'_>, place: Place) -> Option<T> {
        let known = keys::find(self.name, key);
        let kind = known.map_or("something else", |key| key.kind);
        let right = match known.map(Key::shown_value) {
            Some(value) if !matches!(value, "\"\"" | "[]") => format!("write it like {key} = {value}"),
            Some("[]") => format!("write a list in brackets, like {key} = [\"a\", \"b\"]"),
            _ => format!("write a text in quotes, {key} = \"…\""),
        };
        let found = match value.type_str() {
            "string" => "a text",
            "integer" => "a whole number",
            "float" => "a number with a fraction",
            "boolean" => "true or false",
            "array" => "a list",
            "table" => "a table",
            _ => "a date or time",
        };
        self.take(key, place, Err(Wrong::new(format!("this is {found}, not {}", with_article(kind)), right)))
    }

    /// The value in the file, else the default; a required key that is missing is noted.
    fn find(&self, key: &str) -> Option<Found<'t>> {
        if let Some((name, value)) = self.entries.and_then(|entries| entries.get_key_value(key)) {
            return Some(Found { value: value.get_ref().clone(), place: self.reader.place(name.span().start) });
        }
        match keys::find(self.name, key)?.default {
            Fallback::Is(text) => {
                let value = DeValue::parse(text).ok()?.into_inner();
                Some(Found { value, place: Place::File })
            }
            Fallback::From(_) => None,
            Fallback::Required => {
                let example = keys::find(self.name, key).map_or("", |key| key.example);
                let wrong = Wrong::new("this key must be there", format!("write {key} = {example}"));
                self.take(key, self.place, Err(wrong))
            }
        }
    }
}

fn with_article(kind: &str) -> String {
    match kind.chars().next() {
        Some('a' | 'e' | 'i' | 'o' | 'u' | 'I') => format!("an {kind}"),
        Some('"') => kind.to_owned(),
        _ if kind.starts_with("six") || kind == "true or false" => kind.to_owned(),
        _ => format!("a {kind}"),
    }
}

fn bracketed(table: &str) -> String {
    let repeated = keys::TABLES.iter().any(|known| known.name == table && known.repeated);
    if repeated { format!("[[{table}]]") } else { format!("[{table}]") }
}

fn line_around(text: &str, byte: usize) -> &str {
    let start = text.get(..byte).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default()
}

/// The known word that `word` is most likely meant to be, if any is near.
fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
