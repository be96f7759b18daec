//! The daemon: checks, puts the parts together, runs them, and takes them apart in order.
//!
//! Order of a start: configuration and secrets (exit 2 before anything is bound), listeners (exit 2, for a port in use
//! is a matter of configuration, and what was bound before it is let go again; but exit 1 for an address that is not
//! there yet, so that systemd tries again), store, parts, READY=1. The engine may be away.
//! Order of a stop: no new job, then the job in hand, then the listeners, then the store.

mod parts;
mod reload;
pub(crate) mod signals;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use layerkeeper_http::control::ControlSocket;
use layerkeeper_http::error::HttpError;
use layerkeeper_http::local::{LocalListener, MetricsListener};
use layerkeeper_http::serve::ServeSettings;
use layerkeeper_http::webhook::WebhookListener;
use layerkeeper_keeper::Keeper;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::exit::Exit;
use crate::config::{Config, ConfigError, Environment};
use crate::{logging, notify_systemd};
pub(crate) use parts::registry_settings;
use reload::{Reload, read};
use signals::{Asked, Signals};

/// What a stop may take besides `stop_timeout`: cutting the job, the listeners' drain, the store.
const STOP_REST: Duration = Duration::from_secs(60);

/// Runs the daemon until it is told to stop.
pub fn run(file: &Path) -> Exit {
    if let Err(complaint) = logging::start(logging::Reader::of_process()) {
        tracing::error!("{complaint}");
        return Exit::Usage;
    }
    let checked = match read(file, &Environment::of_process()) {
        Ok(checked) => checked,
        Err(error) => {
            for line in error.to_string().lines() {
                tracing::error!("{line}");
            }
            return Exit::Usage;
        }
    };
    // two threads: the daemon waits most of its time, and its memory is counted
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return Exit::Failed;
        }
    };
    let (config, reload) = Reload::new(file, checked);
    runtime.block_on(async {
        match Listeners::bind(&config) {
            Ok(listeners) => serve(config, listeners, reload).await.unwrap_or_else(|error| {
                tracing::error!("{error:#}");
                Exit::Failed
            }),
            Err(error) => {
                tracing::error!("{}: {error}", config.place(&key(&error)));
                if error.is_transient() { Exit::Failed } else { Exit::Usage }
            }
        }
    })
}

/// Checks a configuration and every file that it names, as a start would.
///
/// # Errors
/// Everything that is wrong with them.
pub fn check(file: &Path, environment: &Environment) -> Result<(), ConfigError> {
    read(file, environment).map(drop)
}

/// Checks the certificate that a configuration names, and its key.
///
/// # Errors
/// What is wrong with them.
pub fn check_certificate(config: &Config) -> Result<(), ConfigError> {
    reload::certificate(config).map(drop)
}

/// The bound listeners.
struct Listeners {
    webhook: Option<WebhookListener>,
    local: LocalListener,
    metrics: Option<MetricsListener>,
    control: ControlSocket,
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, HttpError> {
        let listen = &config.listen;
        Ok(Self {
            webhook: listen.webhook.map(WebhookListener::bind).transpose()?,
            local: LocalListener::bind(listen.status)?,
            metrics: listen.metrics.map(MetricsListener::bind).transpose()?,
            control: ControlSocket::bind(&listen.control, parts::control_group())?,
        })
    }
}

/// The key behind a listener that cannot listen.
fn key(error: &HttpError) -> String {
    match error {
        HttpError::Bind { key, .. } => format!("listen.{key}"),
        HttpError::Tls { key, .. } => format!("webhook.{key}"),
        HttpError::Secret(_) => "webhook.secret_file".to_owned(),
        HttpError::SocketInUse { .. } | HttpError::NotASocket { .. } | HttpError::Socket { .. } => {
            "listen.control".to_owned()
        }
    }
}

async fn serve(config: Config, listeners: Listeners, mut reload: Reload) -> anyhow::Result<Exit> {
    let (store, keeper_parts) = parts::assemble(&config)?;
    let keeper = Keeper::new(keeper_parts).await.context("the state cannot be read")?;
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let close = CancellationToken::new();
    let served = TaskTracker::new();
    start(listeners, &config, &keeper, &reload, &served, &close);

    notify_systemd::ready(&parts::summary(&config));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %config.file.display(), "layerkeeper is up: {}", parts::summary(&config));
    let working = keeper.run(notify_systemd::alive);
    tokio::pin!(working);
    let mut stopping = false;
    let result = loop {
        tokio::select! {
            result = &mut working => break result,
            asked = signals.next() => match asked {
                Asked::Stop if stopping => tracing::info!("is stopping already"),
                Asked::Stop => {
                    stopping = true;
                    let at_most = reload.stop_timeout().saturating_add(STOP_REST);
                    notify_systemd::stopping("takes no new job and lets the job in hand finish", at_most);
                    tracing::info!("stopping: takes no new job");
                    keeper.stop();
                }
                Asked::Reload => reload.reload(&config, &keeper),
            },
        }
    };
    close.cancel();
    served.close();
    served.wait().await;
    store.close().await;
    result.context("the keeper ended")?;
    if !stopping {
        anyhow::bail!("the keeper ended without being asked to");
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// Every listener gets a task of its own, all owned by `served` and ended by `close`.
fn start(
    listeners: Listeners,
    config: &Config,
    keeper: &Keeper,
    reload: &Reload,
    served: &TaskTracker,
    close: &CancellationToken,
) {
    let Listeners { webhook, local, metrics, control } = listeners;
    if let (Some(webhook), Some(secrets)) = (webhook, reload.secrets()) {
        let settings = parts::webhook_settings(config, secrets, reload.tls());
        served.spawn(webhook.serve(keeper.clone(), settings, close.clone()));
    }
    served.spawn(local.serve(keeper.clone(), parts::local_settings(config), close.clone()));
    if let Some(metrics) = metrics {
        served.spawn(metrics.serve(keeper.clone(), ServeSettings::default(), close.clone()));
    }
    served.spawn(control.serve(keeper.clone(), ServeSettings::default(), close.clone()));
}
