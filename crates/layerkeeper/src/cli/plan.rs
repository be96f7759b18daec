//! `layerkeeper plan`

use std::fmt::Write as _;

use chrono::{Local, TimeDelta, TimeZone};
use layerkeeper_core::{Platform, Reference, StoreKind};
use layerkeeper_http::client::path;
use layerkeeper_keeper::Estimated;
use layerkeeper_registry::Client;
use layerkeeper_store::record::EstimateRecord;
use serde::Serialize;

use super::exit::Exit;
use super::output::Output;
use super::remote::{Control, configuration};
use super::trouble::Trouble;
use super::{Cli, PlanArgs};
use crate::config::{Config, Environment};
use crate::doctor::cleaners::{Cleaner, scheduled_at};
use crate::doctor::{self, Root};
use crate::render;

/// How a loss is told that was a removal by the daemon.
const OURS: &str = "layerkeeper removed it";

/// What a build moves to a server that has another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Against {
    /// The image that is to come.
    pub image: String,
    /// What it resolves to now.
    pub digest: String,
    /// The image that is there.
    pub against: String,
    /// What that resolves to now.
    pub against_digest: String,
    /// The platform that both were resolved for.
    pub platform: String,
    /// The server's image store: `graphdriver` or `containerd`.
    pub store: String,
    /// Per layer and in sum.
    pub estimate: EstimateRecord,
}

/// Shows what a pull would move: to this server, or to one that has another image.
pub async fn plan(cli: &Cli, args: &PlanArgs, output: &mut Output) -> Result<Exit, Trouble> {
    if let Some(against) = &args.against {
        let facts = compare(cli, args, against).await?;
        output.facts(&facts, render::estimate::against)?;
        return Ok(Exit::Done);
    }
    let query = path("/v1/plan", &[("image", &args.image.to_string())]);
    let mut estimated: Estimated = Control::of(cli)?.0.get(&query).await?;
    name_cleaners(&mut estimated.estimate, &doctor::scheduled(&Root::new("/")), Local);
    output.facts(&estimated, render::estimate::estimate)?;
    Ok(Exit::Done)
}

/// A loss is seen up to a minute after it happened: who on this host was due then is said beside it.
fn name_cleaners(record: &mut EstimateRecord, cleaners: &[Cleaner], zone: impl TimeZone) {
    let causes = record.layers.iter_mut().flat_map(|layer| &mut layer.causes);
    // what layerkeeper itself removed, nobody else did; and only names are ever lost
    for cause in causes.filter(|cause| !cause.why.contains(OURS)) {
        let Some(seen) = cause.at.and_then(|at| zone.timestamp_millis_opt(at).single()) else { continue };
        let minutes = [seen.naive_local(), seen.naive_local() - TimeDelta::minutes(1)];
        let mut due: Vec<&Cleaner> = minutes.iter().flat_map(|minute| scheduled_at(cleaners, *minute)).collect();
        due.dedup();
        for cleaner in due.into_iter().filter(|cleaner| cleaner.act.takes_tagged()) {
            let _ = write!(cause.why, "; at that minute {cleaner} runs `{}` ({})", cleaner.command, cleaner.schedule);
        }
    }
}

/// Asks the registries itself: CI has no daemon.
async fn compare(cli: &Cli, args: &PlanArgs, against: &Reference) -> Result<Against, Trouble> {
    let text = configuration(&cli.config)?;
    let config = Config::parse(&text, &cli.config, &Environment::of_process()).map_err(Trouble::Config)?;
    let client = Client::new(config.registry_settings()).map_err(|error| Trouble::Failed(error.to_string()))?;
    let platform = args.platform();
    let read = async |reference: &Reference| {
        let fetched = client.image(reference, &platform).await;
        fetched.map(|fetched| fetched.image).map_err(|error| Trouble::Failed(error.to_string()))
    };
    let (wanted, had) = tokio::try_join!(read(&args.image), read(against))?;
    let (estimate, explanation) = layerkeeper_core::reuse::against(&wanted, &had, against, args.store.kind());
    Ok(Against {
        image: args.image.to_string(),
        digest: wanted.resolved.to_string(),
        against: against.to_string(),
        against_digest: had.resolved.to_string(),
        platform: wanted.platform.to_string(),
        store: args.store.kind().to_string(),
        estimate: EstimateRecord::from(&estimate).explained(&explanation, None),
    })
}

/// A server's image store, by a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// The classic one, over overlay2.
    Overlay2,
    /// The containerd image store, Docker's default on new installations since 29.
    Containerd,
}

impl Store {
    fn kind(self) -> StoreKind {
        match self {
            Self::Overlay2 => StoreKind::Graphdriver,
            Self::Containerd => StoreKind::Containerd,
        }
    }
}

impl PlanArgs {
    fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(|| Platform {
            os: "linux".to_owned(),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            }
            .to_owned(),
            variant: None,
        })
    }
}

/// `linux/arm64`, `linux/arm/v7`
pub fn platform(text: &str) -> Result<Platform, String> {
    let mut parts = text.split('/').map(str::to_owned);
    let (os, architecture, variant, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    match (os, architecture, rest) {
        (Some(os), Some(architecture), None) if !os.is_empty() && !architecture.is_empty() => {
            Ok(Platform { os, architecture, variant })
        }
        _ => Err("write OS/ARCHITECTURE, such as linux/amd64 or linux/arm/v7".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use layerkeeper_store::record::{CauseRecord, LayerEstimateRecord};

    use super::*;
    use crate::doctor::cleaners::tests::cron;

    #[test]
    fn who_was_due_when_a_layer_was_lost_is_said_beside_it() {
        let prune = cron("0 3 * * *", "docker system prune -af");
        // these take nothing that has a name, or nothing of the engine's
        let [dangling, podman] =
            ["docker image prune -f", "podman system prune -af"].map(|other| cron("0 3 * * *", other));
        let cleaners = [dangling, prune, podman];
        let said_of = |at: &str, why: &str| {
            let at = super::super::history::instant(at).unwrap();
            let cause = CauseRecord { cause: "lost".into(), why: why.into(), at: Some(at), advice: None };
            let layer = LayerEstimateRecord {
                digest: String::new(),
                diff_id: String::new(),
                size: 1,
                presence: "to fetch".into(),
                created_by: None,
                causes: vec![cause],
            };
            let mut record = EstimateRecord { layers: vec![layer], ..EstimateRecord::default() };
            name_cleaners(&mut record, &cleaners, Utc);
            record.layers.remove(0).causes.remove(0).why
        };
        let said = |at: &str| said_of(at, "it was here");
        let due = "it was here; at that minute /etc/cron.d/cleanup:3 runs `docker system prune -af` \
                   (every day at 03:00 (0 3 * * *))";
        assert_eq!(said("2026-11-27T03:00:40Z"), due);
        assert_eq!(said("2026-11-27T03:01:10Z"), due, "it was seen a minute later");
        assert_eq!(said("2026-11-27T03:02:00Z"), "it was here");
        let ours = "it was here: layerkeeper removed it (older than the newest 3)";
        assert_eq!(said_of("2026-11-27T03:00:40Z", ours), ours);
    }
}
