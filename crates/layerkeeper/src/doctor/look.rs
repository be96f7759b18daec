//! Gathers what the doctor judges. Nothing is changed, started or pulled; an image of which something is expected is read
//! through a container that is made, never started and removed. A credential helper is asked only as the daemon's
//! own user: what another user's run of it left behind could keep the daemon's from working.

mod cron;
mod disk;
mod engine_process;
mod environment;
mod expected;
mod files;
mod paths;
mod programs;
mod quarters;
mod registries;
mod scripts;
mod systemd;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use layerkeeper_core::{Digest, ImageName, Inventory, Policy, Timestamp};
use layerkeeper_engine::Engine as _;
use layerkeeper_engine::docker::Docker;
use layerkeeper_http::client::{Client, ClientError};
use layerkeeper_keeper::Status;

pub use environment::missing;
use files::Files;
pub use files::Root;

use super::Seen;
use super::cleaners::Cleaner;
use super::daemon::DaemonSeen;
use super::engine::EngineSeen;
use super::host::HostSeen;
use crate::config::{Config, Environment};
use crate::run::signals::{Asked, Signals};

/// A daemon that is well answers at once.
const DAEMON: Duration = Duration::from_secs(5);

/// Looks at everything. `control` leads to the daemon, `root` is where this host's files are.
///
/// # Errors
/// The engine's address is none, the registry client cannot be set up, or a signal came before the end.
pub async fn look(config: &Config, environment: &Environment, control: &Client, root: &Root) -> anyhow::Result<Seen> {
    let engine = Docker::connect(&config.engine_host)?;
    let owner = expected::owner()?;
    let mut signals = Signals::listen()?;
    let looks = gather(&engine, &owner, config, environment, control, root);
    let stop = async { while signals.next().await != Asked::Stop {} };
    let seen = expected::unless_stopped(&engine, &owner, looks, stop).await;
    seen.unwrap_or_else(|| anyhow::bail!("stopped before everything was looked at"))
}

async fn gather(
    engine: &Docker,
    owner: &str,
    config: &Config,
    environment: &Environment,
    control: &Client,
    root: &Root,
) -> anyhow::Result<Seen> {
    let daemon = daemon(control, config).await;
    let mut inventory = engine.inventory().await;
    if let (Ok(inventory), Some(status)) = (&mut inventory, daemon.status()) {
        vouched_for(inventory, status);
    }
    let facts = match &inventory {
        Ok(_) => engine.facts().await.ok(),
        Err(_) => None,
    };
    let seen_of_engine = match &inventory {
        Ok(inventory) => up(inventory, config),
        Err(error) => EngineSeen::Down { cause: error.to_string() },
    };
    let inventory = inventory.ok();
    let now = Timestamp(0).plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let (registries, mut kept, paths) = registries::look(config, environment, root, inventory.as_ref(), now).await?;
    expected::look(engine, &mut kept, inventory.as_ref(), owner).await;
    let keep = kept.iter().map(|seen| seen.keep.clone()).collect();
    let mut files = Files::new(root);
    let cleaners = cleaners(&mut files, inventory.as_ref());
    Ok(Seen {
        now,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        policy: Policy { keep, ..config.settings.policy.clone() },
        engine_host: config.engine_host.clone(),
        disks: disk::look(config, inventory.as_ref(), root),
        engine: seen_of_engine,
        inventory,
        daemon,
        registries,
        paths,
        kept,
        cleaners,
        unread: files.unread,
        host: HostSeen { facts, unpigz: engine_process::unpigz(&config.engine_host, root) },
        unit: systemd::unit(root).await,
    })
}

/// What came from a mirror the engine does not know by its digest, but the daemon does.
fn vouched_for(inventory: &mut Inventory, status: &Status) {
    for from in &status.from_mirrors {
        let (Ok(name), Ok(digest)) = (from.image.parse::<ImageName>(), from.digest.parse::<Digest>()) else { continue };
        for image in inventory.images.iter_mut().filter(|image| image.names.contains(&name)) {
            image.digests.insert((name.repository.clone(), digest));
        }
    }
}

fn up(inventory: &Inventory, config: &Config) -> EngineSeen {
    EngineSeen::Up {
        info: inventory.engine.clone(),
        images: inventory.images.len(),
        containers: inventory.containers.len(),
        other_store: disk::holds_other_store(config, inventory),
    }
}

/// Everything that removes images by itself.
fn cleaners(files: &mut Files<'_>, inventory: Option<&Inventory>) -> Vec<Cleaner> {
    let mut all = cron::look(files);
    all.extend(systemd::cleaners(files));
    all.extend(inventory.into_iter().flat_map(programs::look));
    all
}

/// What removes images by itself on this host, as its files say; containers are not asked for.
pub fn scheduled(root: &Root) -> Vec<Cleaner> {
    cleaners(&mut Files::new(root), None)
}

async fn daemon(control: &Client, config: &Config) -> DaemonSeen {
    let at = config.listen.control.display().to_string();
    match control.clone().with_timeout(DAEMON).get::<Status>("/v1/status").await {
        Ok(status) => DaemonSeen::Up(Box::new(status)),
        Err(ClientError::NotReachable { target, cause }) => DaemonSeen::Silent { at: target, cause },
        Err(error) => DaemonSeen::Silent { at, cause: error.to_string() },
    }
}
