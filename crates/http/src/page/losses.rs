//! What is missing and on its way back, what was forgotten on purpose, and what came from a mirror; only shown where there is
//! any.

use layerkeeper_keeper::Status;
use layerkeeper_keeper::status::{ForgottenStatus, FromMirrorStatus, LossStatus};
use maud::{Markup, html};

use super::text;

/// How many of each are shown.
const MOST: usize = 50;

/// A row each.
pub fn losses(status: &Status) -> Markup {
    if status.losses.is_empty() && status.forgotten.is_empty() && status.from_mirrors.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Missing, forgotten, from a mirror" }
            table {
                thead { tr { th scope="col" { "Image" } th scope="col" { "Since" } th scope="col" { "How" } th scope="col" { "And now" } } }
                tbody {
                    @for loss in status.losses.iter().take(MOST) { (lost(loss, status.now)) }
                    @for stone in status.forgotten.iter().take(MOST) { (forgotten(stone, status.now)) }
                    @for image in status.from_mirrors.iter().take(MOST) { (from_mirror(image, status.now)) }
                }
            }
            (text::more(status.losses.len(), MOST, "that are missing"))
            (text::more(status.forgotten.len(), MOST, "that were forgotten"))
            (text::more(status.from_mirrors.len(), MOST, "that came from a mirror"))
        }
    }
}

fn lost(loss: &LossStatus, now: i64) -> Markup {
    html! {
        tr {
            th scope="row" { (text::name(&loss.image)) }
            td data-label="Since" { (text::away(loss.at, now)) }
            td data-label="How" { span.state.bad { (loss.cause) } " " (loss.said) }
            td data-label="And now" {
                @match loss.next_try { None => { "a job is on it" }, Some(at) => { "tried again " (text::away(at, now)) } }
                @if loss.slowed { div.cause { "once an hour: it is taken away again and again" } }
            }
        }
    }
}

fn forgotten(stone: &ForgottenStatus, now: i64) -> Markup {
    html! {
        tr {
            th scope="row" { (text::name(&stone.image)) }
            td data-label="Since" { (text::away(stone.at, now)) }
            td data-label="How" { span.state.warn { "forgotten" } " by " (stone.who) ": " (stone.reason) }
            td data-label="And now" { "stays away until a deploy or a prewarm names it" }
        }
    }
}

fn from_mirror(image: &FromMirrorStatus, now: i64) -> Markup {
    html! {
        tr {
            th scope="row" { (text::name(&image.image)) }
            td data-label="Since" { (text::away(image.at, now)) }
            td data-label="How" { span.state.good { "here" } " from " (image.source) ", as its registry was away" }
            td data-label="And now" { "its registry is asked until it answers, and then confirms it: about a kilobyte" }
        }
    }
}
