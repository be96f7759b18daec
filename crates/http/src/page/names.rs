//! What stood for what: every name at one time, and what has changed since or before, with the layers of one name.

use maud::{Markup, html};

use super::text;
use crate::client::path;
use crate::wire::ChangeView;

/// How many names and changes a page shows.
pub const ROWS: usize = 200;

/// What was asked, and what was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamesData {
    /// The instant that is looked back to; none: now.
    pub at: Option<i64>,
    /// Only this name.
    pub name: Option<String>,
    /// What stood then.
    pub names: Vec<ChangeView>,
    /// What changed until then, newest first.
    pub changes: Vec<ChangeView>,
    /// Now.
    pub now: i64,
}

/// The form, what stood then, and what changed before.
pub fn names(data: &NamesData) -> Markup {
    html! {
        section {
            h2 { @match data.at { Some(at) => { "What was here at " (text::instant(at)) }, None => { "What is here now" } } }
            (form(data))
            (standing(data))
        }
        section {
            h2 { "What changed" @if data.at.is_some() { " until then" } }
            (changes(data))
        }
    }
}

fn form(data: &NamesData) -> Markup {
    html! {
        form action="/names" {
            label { "Time (UTC) " input type="datetime-local" name="at" value=[data.at.map(text::minute)]; }
            label { "Name " input type="text" name="name" placeholder="every name" value=[data.name.as_ref()]; }
            button { "Look" }
            @for (days, words) in [(1, "a day ago"), (7, "a week ago")] { a href=(there(data, days)) { (words) } }
            @if let Some(name) = data.name.as_ref().filter(|name| !name.contains('@')) {
                a href=(path("/jobs", &[("image", name)])) { "its jobs" }
            }
            @if data.at.is_some() || data.name.is_some() { a href="/names" { "every name, now" } }
        }
    }
}

fn standing(data: &NamesData) -> Markup {
    html! {
        @if data.names.is_empty() {
            p { @match &data.name { Some(name) => { (text::name(name)) " is not known to have been here." }, None => { "Nothing is known to have been here." } } }
        } @else {
            table {
                caption { (text::count(data.names.len(), "name")) ", and what each stood for" }
                thead { tr { th scope="col" { "Name" } th scope="col" { "Digest" } th scope="col" { "Image" } th scope="col" { "Layers" } th scope="col" { "Since" } } }
                tbody {
                    @for row in data.names.iter().take(ROWS) {
                        tr {
                            th scope="row" { (link(&row.name, data.at)) }
                            td data-label="Digest" { (digest(row)) }
                            td data-label="Image" { (image(row)) }
                            td data-label="Layers" { (layers(row, data.name.is_some())) }
                            td data-label="Since" { (text::instant(row.at)) }
                        }
                    }
                }
            }
            (text::more(data.names.len(), ROWS, "names"))
        }
    }
}

fn changes(data: &NamesData) -> Markup {
    html! {
        @if data.changes.is_empty() { p.quiet { "Nothing that is known of." } }
        @else {
            table {
                caption { "Newest first, as each look at the engine saw it" }
                thead { tr { th scope="col" { "Name" } th scope="col" { "When" } th scope="col" { "Stood for from then on" } th scope="col" { "Layers" } th scope="col" { "Seen" } } }
                tbody {
                    @for row in &data.changes {
                        tr {
                            th scope="row" { (link(&row.name, data.at)) }
                            td data-label="When" { (text::instant(row.at)) }
                            td data-label="Stood for" {
                                @if row.image_id.is_some() { (digest(row)) } @else { span.state.calm { "nothing: it was gone" } }
                                @if let Some(reason) = &row.reason { div.cause { (reason) } }
                            }
                            td data-label="Layers" { (layers(row, data.name.is_some())) }
                            td data-label="Seen" { @match &row.job { Some(id) => { "in " a href={"/jobs/" (id)} { "job " (text::short(id)) } }, None => { "outside any job" } } }
                        }
                    }
                }
            }
            @if data.changes.len() >= ROWS { p.quiet { "Older ones: look back to an earlier time." } }
        }
    }
}

/// The same, so many days ago.
fn there(data: &NamesData, days: i64) -> String {
    address(data.name.as_deref(), Some(data.now - days * 86_400_000))
}

/// A name that leads to what it stood for.
pub fn link(name: &str, at: Option<i64>) -> Markup {
    let shown = match name.split_once("@sha256:") {
        Some((repository, digits)) => format!("{repository}@sha256:{}", text::short(digits)),
        None => name.to_owned(),
    };
    html! { a href=(address(Some(name), at)) title=(name) { (text::name(&shown)) } }
}

fn address(name: Option<&str>, at: Option<i64>) -> String {
    let at = at.map(text::minute);
    let asked = name.map(|name| ("name", name)).into_iter().chain(at.as_deref().map(|at| ("at", at)));
    path("/names", &asked.collect::<Vec<_>>())
}

fn digest(row: &ChangeView) -> Markup {
    html! { @match &row.digest { Some(digest) => (text::digest(digest)), None => span.quiet { "none: made on this host" } } }
}

fn image(row: &ChangeView) -> Markup {
    html! { @match &row.image_id { Some(id) => (text::digest(id)), None => { "–" } } }
}

/// How many, or, of one name, which.
fn layers(row: &ChangeView, all: bool) -> Markup {
    html! {
        @match row.layers.len() {
            0 => { "–" }
            number if !all => (number),
            number => details { summary { (number) } ol.layers { @for layer in &row.layers { li { code.whole { (layer) } } } } }
        }
    }
}
