//! The page: is everything kept here, what moved lately, what went and why; and behind it a page per job, all jobs, and what
//! was here at a time. Server-rendered, no scripts, and each holds its whole style, so that one request shows it. `maud`
//! escapes every text that comes from outside.

mod deploys;
mod disk;
mod events;
mod job;
mod jobs;
mod kept;
mod layers;
mod losses;
mod names;
mod prune;
mod pull;
mod routes;
mod running;
mod runtime;
#[cfg(test)]
mod tests;
mod text;
mod verdict;

pub use routes::routes;

use std::sync::LazyLock;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layerkeeper_core::job::JobKind;
use layerkeeper_keeper::{Keeper, Progress, Refusal, Status};
use layerkeeper_store::JobFilter;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::wire::{EventView, JobView};

const STYLE: &str = include_str!("page/style.css");

/// How many deploys and events are shown.
const DEPLOYS: usize = 8;
const EVENTS: usize = 12;

/// A square of layers; a data URL, so that no second request is made.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cg fill='%230f6fb5'%3E%3Crect x='1' y='11' width='14' height='3' rx='1'/%3E%3Crect x='1' y='6.5' width='14' height='3' rx='1'/%3E%3C/g%3E%3Crect x='1' y='2' width='14' height='3' rx='1' fill='%23d97706'/%3E%3C/svg%3E";

/// Everything on the page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageData {
    /// The state of everything.
    pub status: Status,
    /// The last deploys, newest first.
    pub deploys: Vec<JobView>,
    /// The audit trail, newest first.
    pub events: Vec<EventView>,
    /// What the running job is doing.
    pub progress: Option<Progress>,
}

impl PageData {
    /// Asks the keeper.
    ///
    /// # Errors
    /// The store fails.
    pub async fn collect(keeper: &Keeper) -> Result<Self, Refusal> {
        let status = keeper.status().await;
        let filter = JobFilter { kinds: vec![JobKind::Deploy], limit: DEPLOYS, ..JobFilter::default() };
        let deploys = keeper.jobs(filter).await?.into_iter().map(JobView::from).collect();
        let events = keeper.events(EVENTS).await?.into_iter().map(EventView::from).collect();
        let progress = match status.running.as_ref().and_then(|running| running.id.parse().ok()) {
            Some(id) => keeper.follow(&id).await?.map(|receiver| receiver.borrow().clone()),
            None => None,
        };
        Ok(Self { status, deploys, events, progress })
    }
}

/// The first page.
pub fn page(data: &PageData) -> Markup {
    frame(&verdict::title(&data.status), Some(10), &body(data))
}

/// What every page has around its body. `refresh`: it loads itself again after so many seconds.
fn frame(title: &str, refresh: Option<u32>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
                title { (title) " · layerkeeper" }
                link rel="icon" href=(ICON);
                style { (PreEscaped(STYLE)) }
            }
            (body)
        }
    }
}

/// A page behind the first one; `data`: where the same is to be had as JSON.
fn inner(content: &Markup, now: i64, data: &str) -> Markup {
    html! {
        body {
            header {
                h1 { a href="/" { "layerkeeper" } }
                (places())
                p.quiet { "as of " (text::instant(now)) }
            }
            main { (content) }
            footer.quiet { "This page changes nothing. As data: " a href=(data) { (data) } }
        }
    }
}

fn places() -> Markup {
    html! { nav { a href="/" { "now" } " " a href="/jobs" { "jobs" } " " a href="/names" { "what was here" } } }
}

/// Allows the page's own style, by its hash, its icon, and its form, which only asks; nothing else.
pub fn content_security_policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'self'; \
             frame-ancestors 'none'"
        );
        HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    });
    POLICY.clone()
}

fn body(data: &PageData) -> Markup {
    let status = &data.status;
    html! {
        body {
            header {
                h1 { "layerkeeper" }
                (places())
                p.quiet { "as of " (text::instant(status.now)) " · version " (status.version) " · up " (text::span(status.started_at, status.now)) }
            }
            main {
                (verdict::verdict(status))
                (running::running(status, data.progress.as_ref()))
                (kept::kept(status))
                (losses::losses(status))
                (deploys::deploys(&data.deploys, status.now))
                (disk::disk(status))
                (runtime::runtime(status))
                (prune::prune(status))
                (prune::superseded(status))
                (events::events(&data.events, status.now))
            }
            footer.quiet {
                "This page changes nothing and refreshes itself. As data: "
                a href="/v1/status" { "status" } " · " a href="/v1/jobs" { "jobs" } " · " a href="/v1/images" { "images" } " · "
                a href="/metrics" { "metrics" } " · " a href="/readyz" { "ready?" }
            }
        }
    }
}
