//! 200 signed requests a second, each accepted durably, beside adnanh/webhook.

mod adnanh;
mod load;
mod sign;

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use layerkeeper_core::Repository;

use super::Ground;
use super::machine::Patience;
use super::report::Section;
use super::samples::Samples;
use crate::server::Server;
use adnanh::Adnanh;

const PER_SECOND: u32 = 200;
/// 20 seconds of them.
const REQUESTS: usize = 20 * PER_SECOND as usize;

/// p50, p99 and the slowest of each round, in milliseconds.
#[derive(Default)]
struct Rounds(Vec<[f64; 3]>);

/// Alternates between them: ours with a job in hand, theirs, and ours with a worker that takes up every job.
pub fn measure(rounds: usize, patience: Patience) -> Result<Section> {
    let mut ground = Ground::prepare()?;
    ground.start()?;
    let adnanh = Adnanh::start(Server::SECRET)?;
    let repository = repository(&ground)?;
    let bodies = sign::of_body(&adnanh.address(), Adnanh::PATH, &repository, Server::SECRET, REQUESTS);
    let (mut ours, mut theirs, mut working) = (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 0..rounds {
        patience.wait()?;
        // the first job waits for the engine until it goes on, and all others wait for the first
        ground.engine.freeze()?;
        let latencies = burst(&ground, 2 * round);
        ground.engine.thaw()?;
        ours.add(latencies?)?;
        ground.server.facts(&["status", "--wait-idle"])?;
        patience.wait()?;
        theirs.add(load::run(&adnanh.address(), &bodies, PER_SECOND, 200)?)?;
        patience.wait()?;
        working.add(burst(&ground, 2 * round + 1)?)?;
        ground.server.facts(&["status", "--wait-idle"])?;
    }
    let (accepted, sent) = (accepted(&ground.server)?, 2 * rounds * REQUESTS);
    ensure!(accepted == sent, "{accepted} jobs were accepted of {sent}");

    let mut section = Section::new("Webhook");
    section.target("p99 of a durable accept at 200 requests/s", ours.of(1)?.median(), 10.0, " ms", 2);
    section.text(format!(
        "{REQUESTS} signed requests in {} s, open loop: each has its instant, and its latency counts from that instant. 32 \
         connections, {rounds} rounds alternating. layerkeeper answers 202 when the job is on the disk (SQLite, WAL, \
         `synchronous=FULL`). First with a job in hand, as during a pull; then with a worker that takes up all it can of \
         these jobs, each a tag that the registry does not have, so that engine, registry and daemon compete for the \
         cores. adnanh/webhook 2.8 checks an HMAC, answers 200, stores nothing, and then runs `/bin/true`. Milliseconds:",
        REQUESTS as u32 / PER_SECOND
    ));
    let row = |(name, at): (&str, usize)| -> Result<Vec<String>> {
        let (ours, theirs, working) = (ours.of(at)?, theirs.of(at)?, working.of(at)?);
        let ratio = ours.median() / theirs.median();
        Ok(vec![name.to_owned(), ours.shown(2), theirs.shown(2), format!("{ratio:.2}"), working.shown(2)])
    };
    let rows = [("p50", 0), ("p99", 1), ("slowest", 2)].into_iter().map(row).collect::<Result<Vec<_>>>()?;
    let head = ["latency", "layerkeeper", "adnanh/webhook", "ratio", "layerkeeper, taking up every job"];
    section.table(&head, &rows);
    Ok(section)
}

/// One round of requests to a daemon; `round` makes them new ones.
pub(super) fn burst(ground: &Ground, round: usize) -> Result<Vec<Duration>> {
    let numbers = Range { start: round * REQUESTS, end: (round + 1) * REQUESTS };
    let address = ground.server.webhook();
    let requests = sign::standard(&address, &repository(ground)?, Server::SECRET, numbers);
    load::run(&address, &requests, PER_SECOND, 202)
}

fn repository(ground: &Ground) -> Result<Repository> {
    Ok(format!("{}/acme/app", ground.registry.host()).parse()?)
}

/// What the daemon itself counted.
fn accepted(server: &Server) -> Result<usize> {
    let metrics = server.local().get("/metrics")?.text();
    let line = metrics.lines().find(|l| l.starts_with("layerkeeper_webhook_requests") && l.contains("\"accepted\""));
    let count = line.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(count.context("no metric counts the accepted requests")? as usize)
}

impl Rounds {
    fn add(&mut self, latencies: Vec<Duration>) -> Result<()> {
        let samples = Samples::of_times(latencies).context("nothing was measured")?;
        self.0.push([samples.quantile(0.5), samples.quantile(0.99), samples.most()]);
        Ok(())
    }

    fn of(&self, at: usize) -> Result<Samples> {
        Samples::new(self.0.iter().map(|round| round[at])).context("nothing was measured")
    }
}
