//! Builds the configuration out of the tables. Every table is read to its end before anything is given up, so that all
//! problems are found in one go.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use layerkeeper_core::Policy;
use layerkeeper_keeper::{Settings, TransferSettings};
use toml::de::DeTable;

use super::environment::Environment;
use super::policy::{self, Block, Keeping, Kept};
use super::problem::{Place, Wrong};
use super::schedule;
use super::section::{Reader, Section};
use super::{Config, Listen, Registry, State, Tls, Webhook};
use super::{transfer, value};

/// The configuration; none where something is wrong, which the reader has noted.
pub fn build<'t>(reader: &Reader<'t>, root: &DeTable<'t>, file: &Path, environment: &Environment) -> Option<Config> {
    reader.check_tables(root);
    let engine = reader.section(root, "engine");
    let limits = reader.section(root, "limits");
    let engine_host = engine_host(reader, &engine, environment);
    let data_root = engine.text("data_root", value::maybe(value::path));
    let listen = listen(&reader.section(root, "listen"));
    let webhook = webhook(&reader.section(root, "webhook"), &limits, environment);
    let registry = registry(&reader.section(root, "registry"));
    let state = state(&reader.section(root, "state"));
    let max_queued = limits.whole("max_queued", 1);
    let settings = settings(reader, root, &limits);
    let is_here = engine_host.as_ref().is_some_and(|host| host.starts_with("unix://"));
    let transfer = transfer::settings(reader, root, is_here);
    let (mut registry, transfer) = (registry?, transfer?);
    let endpoints = transfer.mirrors.iter().flat_map(|mirror| &mirror.endpoints);
    registry.insecure.extend(endpoints.filter(|endpoint| endpoint.plain).map(|endpoint| endpoint.host.clone()));
    Some(Config {
        file: file.to_owned(),
        engine_host: engine_host?,
        listen: listen?,
        webhook: webhook?,
        registry,
        state: state?,
        max_queued: usize::try_from(max_queued?).ok()?,
        settings: Settings { data_root: data_root?, transfer, ..settings? },
        lines: BTreeMap::new(),
    })
}

fn engine_host(reader: &Reader<'_>, section: &Section<'_, '_>, environment: &Environment) -> Option<String> {
    let written = section.text("host", value::engine_host);
    match &environment.docker_host {
        None => written,
        Some(host) => {
            value::engine_host(host).map_err(|wrong| reader.report(wrong.at(Place::Environment, "DOCKER_HOST"))).ok()
        }
    }
}

fn listen(section: &Section<'_, '_>) -> Option<Listen> {
    let webhook = section.text("webhook", value::maybe(value::address));
    let status = section.text("status", value::loopback);
    let metrics = section.text("metrics", value::maybe(value::address));
    let status_hosts = section.list("status_hosts", value::host_name);
    let control = section.text("control", value::socket_path);
    let listen = Listen {
        webhook: webhook?,
        status: status?,
        status_hosts: status_hosts?,
        metrics: metrics?,
        control: control?,
    };
    let named = [("webhook", listen.webhook), ("status", Some(listen.status)), ("metrics", listen.metrics)];
    for (index, (key, address)) in named.iter().enumerate() {
        // with port 0 the kernel picks one
        let taken = |other: &&(&str, _)| address.is_some_and(|a| a.port() != 0) && other.1 == *address;
        if let Some((other, _)) = named[..index].iter().find(taken) {
            let wrong = format!("listen.{other} has this address already");
            section.report(key, Wrong::new(wrong, "give each listener a port of its own"));
        }
    }
    Some(listen)
}

fn webhook(section: &Section<'_, '_>, limits: &Section<'_, '_>, environment: &Environment) -> Option<Webhook> {
    let named = section.text("secret_file", value::maybe(value::path));
    let cert = section.text("tls_cert", value::maybe(value::path));
    let key = section.text("tls_key", value::maybe(value::path));
    let rate = limits.whole("webhook_rate", 0);
    let burst = limits.whole("webhook_burst", 1);
    let connections = limits.whole("webhook_connections", 0);
    let tls = match (cert?, key?) {
        (Some(cert), Some(key)) => Some(Tls { cert, key }),
        (None, None) => None,
        (Some(_), None) => {
            section.report("tls_cert", Wrong::new("a certificate is of no use without its key", "write tls_key too"));
            None
        }
        (None, Some(_)) => {
            section.report("tls_key", Wrong::new("a key is of no use without its certificate", "write tls_cert too"));
            None
        }
    };
    let credential = environment.credentials.as_ref().map(|directory| directory.join("webhook-secret"));
    Some(Webhook {
        secret_file: named?.or(credential),
        tls,
        rate: Some(u32::try_from(rate?).unwrap_or(u32::MAX)).filter(|rate| *rate > 0),
        burst: u32::try_from(burst?).unwrap_or(u32::MAX),
        connections: Some(usize::try_from(connections?).unwrap_or(usize::MAX)).filter(|most| *most > 0),
    })
}

fn registry(section: &Section<'_, '_>) -> Option<Registry> {
    let docker_config = section.text("docker_config", value::maybe(value::path));
    let insecure = section.list("insecure", value::registry_host);
    let certs_dir = section.text("certs_dir", value::path);
    Some(Registry { docker_config: docker_config?, insecure: insecure?, certs_dir: certs_dir? })
}

fn state(section: &Section<'_, '_>) -> Option<State> {
    let dir = section.text("dir", value::path);
    let keep_days = section.whole("keep_days", 1);
    let keep_jobs = section.whole("keep_jobs", 1);
    Some(State { dir: dir?, keep_days: u32::try_from(keep_days?).unwrap_or(u32::MAX), keep_jobs: keep_jobs? })
}

fn settings<'t>(reader: &Reader<'t>, root: &DeTable<'t>, limits: &Section<'_, '_>) -> Option<Settings> {
    let times = reader.section(root, "schedule");
    let line = times.text("cron", schedule::line);
    let zone = times.text("timezone", schedule::timezone);
    let jitter = times.text("jitter", value::duration);
    let stop_timeout = limits.text("stop_timeout", value::duration);
    let not_yet_timeout = limits.text("not_yet_timeout", value::duration);
    let stall_timeout = limits.text("stall_timeout", value::duration);
    let look_every = limits.text("look_every", value::duration);
    let max_attempts = limits.whole("max_attempts", 1);
    let disk = reader.section(root, "disk");
    let remove_superseded = disk.text("remove_superseded", policy::remove_superseded);
    let min_free = disk.text("min_free", value::size);
    let disk_paths = disk.list("paths", value::path);
    let blocks = |name| reader.sections(root, name);
    let kept: Vec<Kept> =
        blocks("keep").iter().filter_map(|section| policy::keep(section, line.as_ref(), zone)).collect();
    let runtime: Vec<Block> = blocks("runtime").iter().filter_map(policy::runtime).collect();
    for problem in policy::conflicts(&kept, &runtime) {
        reader.report(problem);
    }
    let Keeping { images, schedules, series } = Keeping::of(kept);
    Some(Settings {
        policy: Policy {
            keep: images,
            runtime: runtime.into_iter().map(|block| block.runtime).collect(),
            remove_superseded: remove_superseded?,
            min_free: min_free?,
        },
        schedules,
        series,
        jitter: jitter?,
        disk_paths: disk_paths?,
        stop_timeout: stop_timeout?,
        not_yet_timeout: not_yet_timeout?,
        stall_timeout: stall_timeout?.max(Duration::from_secs(1)),
        look_every: look_every?.max(Duration::from_secs(1)),
        max_attempts: u32::try_from(max_attempts?).unwrap_or(u32::MAX),
        data_root: None,
        transfer: TransferSettings::default(),
    })
}
