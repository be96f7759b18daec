//! One deploy to many servers, and what became of it at each: as text, as a table for GitHub, and as GitHub's outputs.

use std::fmt::Write as _;

use layerkeeper_http::wire::PublicJob;
use serde::Serialize;

use super::amount::{share, size};
use super::markdown::{cell, code, mark, outputs_of, pulls};
use super::table::plain;
use super::{Width, public};

/// What one server made of it.
#[derive(Debug, Clone, Serialize)]
pub struct ServerTold {
    /// The address that was posted to.
    pub url: String,
    /// How `notify` would have exited with this server alone.
    pub exit_code: u8,
    /// The job's state, or `unreachable`, `refused` or `failed` where none is known.
    pub state: String,
    /// The job's id; none where it was not accepted.
    pub id: Option<String>,
    /// The job at its end, where it was followed there.
    pub job: Option<PublicJob>,
    /// Why there is no more to tell.
    pub error: Option<String>,
}

impl ServerTold {
    fn done(&self) -> bool {
        self.exit_code == 0
    }
}

/// A block per server, and the sum.
pub fn text(servers: &[ServerTold], width: Width) -> String {
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "{}: {}", plain(&server.url), plain(&server.state));
        match (&server.job, &server.error) {
            (Some(job), _) => text.push_str(&public::job(job, width)),
            (None, Some(error)) => text.push_str(&format!("{}\n", plain(error))),
            (None, None) => text.push_str(&format!("job {}\n", plain(server.id.as_deref().unwrap_or_default()))),
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{} of {} servers done.", done(servers), servers.len());
    text
}

/// A row per server.
pub fn summary(image: &str, servers: &[ServerTold]) -> String {
    let all = if done(servers) == servers.len() { "✅" } else { "❌" };
    let mut text = format!("### {all} {}: {} of {} servers\n\n", code(image), done(servers), servers.len());
    text.push_str("| server | | downloaded | reused | reuse |\n|---|---|---:|---:|---:|\n");
    for server in servers {
        let mark = server.job.as_ref().map_or("❌", mark);
        let (moved, here) = server
            .job
            .iter()
            .flat_map(pulls)
            .fold((0, 0), |(moved, here), pull| (moved + pull.downloaded_bytes, here + pull.reused_bytes));
        let why = server.job.as_ref().and_then(|job| job.error.as_ref()).map(|error| &error.message);
        let why = why.or(server.error.as_ref()).map(|why| format!(": {}", cell(why))).unwrap_or_default();
        let (url, state) = (code(&server.url), cell(&server.state));
        let amounts = match server.job.as_ref().and_then(|job| job.report.as_ref()) {
            Some(_) => format!("{} | {} | {}", size(moved), size(here), share(here, moved + here)),
            None => " | | ".to_owned(),
        };
        let _ = writeln!(text, "| {url} | {mark} {state}{why} | {amounts} |");
    }
    text.push('\n');
    text
}

/// The same names as for one server, summed over all; and how many servers there are, and how many are done.
pub fn outputs(servers: &[ServerTold]) -> String {
    let sums = outputs_of(servers.iter().filter_map(|server| server.job.as_ref()));
    format!("{sums}servers={}\nservers_done={}\n", servers.len(), done(servers))
}

fn done(servers: &[ServerTold]) -> usize {
    servers.iter().filter(|server| server.done()).count()
}
