//! `layerkeeper plan`

use layerkeeper_core::{Platform, Reference, StoreKind};
use layerkeeper_http::client::path;
use layerkeeper_keeper::Estimated;
use layerkeeper_registry::Client;
use layerkeeper_store::record::EstimateRecord;
use serde::Serialize;

use super::due::Due;
use super::exit::Exit;
use super::output::Output;
use super::remote::{Control, configuration};
use super::trouble::Trouble;
use super::{Cli, PlanArgs};
use crate::config::{Config, Environment};
use crate::render;

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
    Due::on(&args.root).beside_estimate(&mut estimated.estimate);
    output.facts(&estimated, render::estimate::estimate)?;
    Ok(Exit::Done)
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
