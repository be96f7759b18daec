//! The end of the audit trail.

use maud::{Markup, html};

use super::text;
use crate::wire::EventView;

/// One line each, newest first.
pub fn events(events: &[EventView], now: i64) -> Markup {
    html! {
        section {
            h2 { "What happened lately" }
            @if events.is_empty() { p.quiet { "Nothing yet." } }
            @else {
                ul.trail {
                    @for event in events {
                        li { span.when { (text::away(event.at, now)) } " " span.state.calm { (event.kind) } " " (event.message) @if let Some(job) = &event.job { " " a.quiet href={"/jobs/" (job)} { "job" } } }
                    }
                }
            }
        }
    }
}
