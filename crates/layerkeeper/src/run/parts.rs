//! From the configuration to the parts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use layerkeeper_engine::docker::Docker;
use layerkeeper_http::local::LocalSettings;
use layerkeeper_http::rate::Rate;
use layerkeeper_http::secret::Secrets;
use layerkeeper_http::serve::{ServeSettings, SourceLimit, TlsConfig};
use layerkeeper_http::webhook::WebhookSettings;
use layerkeeper_keeper::{Parts, SystemClock, SystemDisks};
use layerkeeper_registry::{Client, Settings as RegistrySettings};
use layerkeeper_relay::{Relays, Spool};
use layerkeeper_store::{Options, Retention, Store};
use tokio::sync::watch;

use crate::config::Config;

/// Below the state directory: where the relay keeps pieces.
const SPOOL: &str = "spool";

/// The group that may use the control socket, besides root.
const GROUP: &str = "layerkeeper";

/// Opens the store and puts the keeper's parts together.
pub(super) fn assemble(config: &Config) -> anyhow::Result<(Store, Parts)> {
    let options = Options { max_queued: config.max_queued as u64, ..Options::default() };
    let store = Store::open(&config.state.dir, options)?;
    let client = Client::new(registry_settings(config)).context("the registry client cannot be set up")?;
    let spool = Spool::new(config.state.dir.join(SPOOL));
    let days = Duration::from_secs(u64::from(config.state.keep_days) * 86_400);
    let parts = Parts {
        engine: Arc::new(Docker::connect(&config.engine_host)?),
        registry: Arc::new(client.clone()),
        relays: Some(Relays::new(client, spool)),
        store: store.clone(),
        clock: Arc::new(SystemClock),
        disks: Arc::new(SystemDisks),
        at: die_at(),
        settings: config.settings.clone(),
        retention: Retention { jobs: days, events: days, max_jobs: config.state.keep_jobs, ..Retention::default() },
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok((store, parts))
}

/// How registries are reached.
pub(crate) fn registry_settings(config: &Config) -> RegistrySettings {
    RegistrySettings { state_dir: Some(config.state.dir.clone()), ..config.registry_settings() }
}

/// In a debug build, where a test says so, the daemon dies by SIGKILL right after a named step (`POINTS`). A release does
/// not look.
fn die_at() -> Arc<dyn Fn(&'static str) + Send + Sync> {
    let wanted = if cfg!(debug_assertions) { std::env::var("LAYERKEEPER_TEST_DIE_AT").ok() } else { None };
    Arc::new(move |point| {
        if wanted.as_deref() == Some(point) {
            // a failure leaves the daemon alive, which the test sees
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    })
}

/// How the webhook behaves.
pub(super) fn webhook_settings(
    config: &Config,
    secrets: watch::Receiver<Secrets>,
    tls: Option<TlsConfig>,
) -> WebhookSettings {
    let rate = config
        .webhook
        .rate
        .map(|per_second| Rate { per_second: f64::from(per_second), burst: f64::from(config.webhook.burst) });
    let per_source = config.webhook.connections.map(|most| SourceLimit { most, ..SourceLimit::default() });
    let serve = ServeSettings { tls, per_source, ..ServeSettings::default() };
    WebhookSettings { rate, serve, ..WebhookSettings::new(secrets) }
}

/// How the local listener behaves.
pub(super) fn local_settings(config: &Config) -> LocalSettings {
    LocalSettings { status_hosts: config.listen.status_hosts.clone(), serve: ServeSettings::default() }
}

/// The group's id by `/etc/group`; none where there is no such group, and then only our own user and root get in.
pub(super) fn control_group() -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.split(':').next() == Some(GROUP))?;
    line.split(':').nth(2)?.parse().ok()
}

/// The configuration in one line.
pub(super) fn summary(config: &Config) -> String {
    let policy = &config.settings.policy;
    let webhook = config.listen.webhook.map_or("off".to_owned(), |address| address.to_string());
    format!(
        "keeps {} images, deploys to {} repositories, webhook {webhook}, status {}",
        policy.keep.len() + config.settings.series.len(),
        policy.runtime.len(),
        config.listen.status
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn the_webhooks_limits_are_those_of_the_configuration() {
        let settings = |text: &str| {
            let config = Config::parse(text, "a.toml".as_ref(), &Environment::default()).unwrap();
            let secrets = Secrets::parse(b"0123456789abcdef").unwrap();
            let settings = webhook_settings(&config, watch::channel(secrets).1, None);
            (settings.rate, settings.serve.per_source.map(|limit| (limit.most, limit.loopback_too)))
        };
        assert_eq!(settings(""), (Some(Rate::default()), Some((16, false))));
        let other = "[limits]\nwebhook_rate = 3\nwebhook_burst = 4\nwebhook_connections = 5\n";
        assert_eq!(settings(other), (Some(Rate { per_second: 3.0, burst: 4.0 }), Some((5, false))));
        assert_eq!(settings("[limits]\nwebhook_rate = 0\nwebhook_connections = 0\n"), (None, None));
    }
}
