//! SIGHUP: a good new configuration takes effect without touching a pull; a bad one changes nothing and says so.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use layerkeeper_http::error::HttpError;
use layerkeeper_http::secret::Secrets;
use layerkeeper_http::serve::TlsConfig;
use layerkeeper_http::serve::tls::server_config;
use layerkeeper_keeper::Keeper;
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::config::secret::read_private;
use crate::config::{Config, ConfigError, Environment, Wrong};
use crate::notify_systemd;
use crate::run::parts;

/// A configuration with the files that it names.
pub(super) struct Checked {
    pub config: Config,
    secrets: Option<Secrets>,
    tls: Option<Arc<ServerConfig>>,
}

/// Reads the configuration, the secret and the certificate that it names.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn read(file: &Path, environment: &Environment) -> Result<Checked, ConfigError> {
    let config = Config::read(file, environment)?;
    let mut problems = Vec::new();
    let secrets = secrets(&config).map_err(|wrong| problems.push(config.problem("webhook.secret_file", wrong)));
    let tls = tls(&config).map_err(|(key, wrong)| problems.push(config.problem(key, wrong)));
    match (secrets, tls) {
        (Ok(secrets), Ok(tls)) => Ok(Checked { config, secrets, tls }),
        _ => Err(ConfigError::new(file, problems)),
    }
}

/// The certificate with its key; none where the webhook speaks plain HTTP.
fn tls(config: &Config) -> Result<Option<Arc<ServerConfig>>, (&'static str, Wrong)> {
    let Some(files) = &config.webhook.tls else { return Ok(None) };
    let cert = std::fs::read(&files.cert).map_err(|error| {
        let right = "make sure that the daemon's user may read it";
        ("webhook.tls_cert", Wrong::new(format!("{} cannot be read: {error}", files.cert.display()), right))
    })?;
    let key = read_private(&files.key).map_err(|wrong| ("webhook.tls_key", wrong))?;
    server_config(&cert, &key).map(Some).map_err(|error| {
        let (key, file, right) = match error {
            HttpError::Tls { key: "tls_key", .. } => ("webhook.tls_key", &files.key, "name the PEM key of tls_cert"),
            _ => ("webhook.tls_cert", &files.cert, "name a PEM certificate chain, the server's own first"),
        };
        let reason = match error {
            HttpError::Tls { reason, .. } => reason,
            other => other.to_string(),
        };
        (key, Wrong::new(format!("{}: {reason}", file.display()), right))
    })
}

/// The same, as an error of the whole configuration.
pub(super) fn certificate(config: &Config) -> Result<Option<Arc<ServerConfig>>, ConfigError> {
    tls(config).map_err(|(key, wrong)| ConfigError::new(&config.file, vec![config.problem(key, wrong)]))
}

/// The webhook's secrets; none where no webhook listens.
fn secrets(config: &Config) -> Result<Option<Secrets>, Wrong> {
    if config.listen.webhook.is_none() {
        return Ok(None);
    }
    let Some(file) = &config.webhook.secret_file else {
        let right = "name the file, or hand it over as systemd's credential webhook-secret; `[listen] webhook = \"\"` \
                     does without a webhook";
        return Err(Wrong::new("the webhook has no secret", right));
    };
    let content = read_private(file)?;
    Secrets::parse(&content).map(Some).map_err(|error| {
        Wrong::new(format!("the secret in {} {error}", file.display()), "fill it with `openssl rand -base64 32`")
    })
}

/// What a reload can change.
pub(super) struct Reload {
    file: PathBuf,
    secrets: Option<watch::Sender<Secrets>>,
    tls: Option<watch::Sender<Arc<ServerConfig>>>,
    stop_timeout: Duration,
}

impl Reload {
    pub fn new(file: &Path, checked: Checked) -> (Config, Self) {
        let Checked { config, secrets, tls } = checked;
        let reload = Self {
            file: file.to_owned(),
            secrets: secrets.map(watch::Sender::new),
            tls: tls.map(watch::Sender::new),
            stop_timeout: config.settings.stop_timeout,
        };
        (config, reload)
    }

    /// The secrets as they are from one request to the next.
    pub fn secrets(&self) -> Option<watch::Receiver<Secrets>> {
        self.secrets.as_ref().map(watch::Sender::subscribe)
    }

    /// The certificate as it is from one connection to the next.
    pub fn tls(&self) -> Option<TlsConfig> {
        self.tls.as_ref().map(watch::Sender::subscribe)
    }

    /// How long a stop waits for the job in hand, as of now.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }

    /// Reads everything again. `running` is what the daemon was started with.
    pub fn reload(&mut self, running: &Config, keeper: &Keeper) {
        notify_systemd::reloading();
        match read(&self.file, &Environment::of_process()) {
            Ok(Checked { config, secrets, tls }) => {
                let restart = needs_restart(running, &config);
                if !restart.is_empty() {
                    tracing::warn!("these keys changed and take effect only after a restart: {}", restart.join(", "));
                }
                if let (Some(sender), Some(secrets)) = (&self.secrets, secrets) {
                    sender.send_replace(secrets);
                }
                if let (Some(sender), Some(tls)) = (&self.tls, tls) {
                    sender.send_replace(tls);
                }
                let summary = parts::summary(&config);
                self.stop_timeout = config.settings.stop_timeout;
                keeper.reload(config.settings);
                tracing::info!("reloaded {}: {summary}", self.file.display());
                notify_systemd::ready(&summary);
            }
            Err(error) => {
                for line in error.to_string().lines() {
                    tracing::error!("{line}");
                }
                tracing::error!("the new configuration is not used; the old one stays in force");
                notify_systemd::ready("the last reload failed and changed nothing; see the log");
            }
        }
    }
}

fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let mut compare = |same: bool, key| {
        if !same {
            keys.push(key);
        }
    };
    compare(old.engine_host == new.engine_host, "[engine] host");
    compare(old.listen == new.listen, "[listen]");
    compare(old.registry == new.registry, "[registry]");
    compare(old.state == new.state, "[state]");
    compare(old.webhook.tls == new.webhook.tls, "[webhook] tls_cert, tls_key");
    let pace = |config: &Config| (config.webhook.rate, config.webhook.burst, config.webhook.connections);
    compare(pace(old) == pace(new), "[limits] webhook_rate, webhook_burst, webhook_connections");
    compare(old.max_queued == new.max_queued, "[limits] max_queued");
    keys
}
