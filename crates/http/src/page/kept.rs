//! The kept images, in the order of the file.

use layerkeeper_keeper::Status;
use layerkeeper_keeper::status::KeptStatus;
use maud::{Markup, html};

use super::{names, text};

/// One row each.
pub fn kept(status: &Status) -> Markup {
    html! {
        section {
            h2 { "Kept images" }
            @if status.kept.is_empty() {
                p.quiet { "None. A [[keep]] block in the configuration names an image that must always be here." }
            } @else {
                table {
                    caption { "Pulled ahead and refreshed on a schedule, in this order" }
                    thead { tr { th scope="col" { "Image" } th scope="col" { "Here?" } th scope="col" { "Digest" } th scope="col" { "Last refresh" } th scope="col" { "Next run" } } }
                    tbody { @for image in &status.kept { (row(image, status.now)) } }
                }
            }
        }
    }
}

fn row(kept: &KeptStatus, now: i64) -> Markup {
    html! {
        tr {
            th scope="row" {
                (names::link(&kept.image, None))
                @for name in &kept.left_here { div.quiet { (name) " is here and kept no more" } }
            }
            td data-label="Here" {
                @if kept.present { span.state.good { "✓ here" } } @else if kept.finding == "forgotten" { span.state.warn { "– forgotten" } } @else { span.state.bad { "✗ " (kept.finding) } }
                @if kept.present && kept.finding != "present" { " " span.state.warn { (kept.finding) } }
                @if let Some(digest) = &kept.unmet_digest {
                    div.cause { (text::digest(digest)) " is not as expected:" ul { @for one in &kept.unmet { li { (one) } } } }
                }
                @match &kept.tag_shows {
                    Some(digest) => { div.quiet { "its tag shows " (text::digest(digest)) " by now, not followed" } }
                    None if kept.pin_unresolvable => { " " span.state.warn { "tag gone at the registry" } }
                    None => {}
                }
            }
            td data-label="Digest" {
                @match (&kept.digest, &kept.pin) {
                    (Some(here), Some(pin)) if here == pin => { (text::digest(here)) " pinned" }
                    (here, Some(pin)) => {
                        @if let Some(here) = here { (text::digest(here)) ", " }
                        "pin is " (text::digest(pin))
                    }
                    (Some(here), None) => (text::digest(here)),
                    (None, None) => { "–" }
                }
            }
            td data-label="Last refresh" {
                @match kept.last_refresh { Some(at) => (text::away(at, now)), None => { "never" } }
                @if let Some(cause) = kept.last_error.as_ref().filter(|_| kept.unmet.is_empty()) { div.cause { (cause) } }
            }
            td data-label="Next run" {
                @match kept.next_run { Some(at) => (text::away(at, now)), None => { "–" } }
                div.quiet { (kept.schedule) }
            }
        }
    }
}
