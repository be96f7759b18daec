//! The runtime repositories and their tags here.

use layerkeeper_keeper::Status;
use layerkeeper_keeper::status::{RuntimeStatus, TagStatus};
use maud::{Markup, html};

use super::text;
use crate::client::path;

/// How many tags of a repository are shown.
const MOST: usize = 50;

/// One table each.
pub fn runtime(status: &Status) -> Markup {
    html! {
        @for repository in &status.runtime {
            section {
                h2 { "Tags of " (text::name(&repository.repository)) }
                (table(repository, status.now))
            }
        }
    }
}

fn table(repository: &RuntimeStatus, now: i64) -> Markup {
    html! {
        @if repository.tags.is_empty() { p.quiet { "None here yet." } }
        @else {
            table {
                caption { "Newest deploy first; a deploy may move " (text::size(repository.download_budget)) }
                thead { tr { th scope="col" { "Tag" } th scope="col" { "Digest" } th scope="col" { "Deployed" } th scope="col" { "Held by" } } }
                tbody { @for tag in repository.tags.iter().take(MOST) { (row(tag, now)) } }
            }
            (text::more(repository.tags.len(), MOST, "tags"))
        }
    }
}

fn row(tag: &TagStatus, now: i64) -> Markup {
    let short = tag.image.rsplit_once(':').map_or(tag.image.as_str(), |(_, tag)| tag);
    html! {
        tr {
            th scope="row" { a href=(path("/names", &[("name", &tag.image)])) { span.name { (short) } } }
            td data-label="Digest" { @match &tag.digest { Some(digest) => (text::digest(digest)), None => { "–" } } }
            td data-label="Deployed" {
                @match (tag.deployed_at, tag.first_seen) {
                    (Some(at), _) => { (text::away(at, now)) @if let Some(number) = tag.deploy { ", no. " (number) } }
                    (None, Some(at)) => { "not by us; first seen " (text::away(at, now)) }
                    (None, None) => { "not by us" }
                }
            }
            td data-label="Held by" { @if tag.held_by.is_empty() { span.quiet { "nobody" } } @else { (tag.held_by.join(", ")) } }
        }
    }
}
