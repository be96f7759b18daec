//! `[pull]` and `[[mirror]]`: which way content comes.

use layerkeeper_core::Bytes;
use layerkeeper_core::plan::TransferMode;
use layerkeeper_keeper::{Endpoint, Mirror, TransferSettings};
use toml::de::DeTable;

use super::problem::Wrong;
use super::section::{Reader, Section};
use super::value;

/// The most connections that anybody may want: more is an attack on the registry.
const MOST_CONNECTIONS: u64 = 64;

/// Bytes per second.
const LEAST_RATE: Bytes = Bytes(100_000);

pub(super) fn settings<'t>(reader: &Reader<'t>, root: &DeTable<'t>, engine_is_here: bool) -> Option<TransferSettings> {
    let section = reader.section(root, "pull");
    let mode = section.text("transfer", mode);
    let most = |key: &str| {
        let connections = section.whole(key, 1)?;
        if connections > MOST_CONNECTIONS {
            let wrong = format!("{connections} connections at once are more than a registry will bear");
            section.report(key, Wrong::new(wrong, format!("write at most {MOST_CONNECTIONS}")));
            return None;
        }
        usize::try_from(connections).ok()
    };
    let connections = most("connections");
    let of_registry = "connections_per_registry";
    let connections_per_registry = if section.has(of_registry) { most(of_registry) } else { connections };
    let max_rate = section.text("max_rate", value::maybe(rate));
    let background_rate = section.text("background_rate", value::maybe(rate));
    let spool_max = section.text("spool_max", value::size);
    let mirrors: Vec<Mirror> = reader.sections(root, "mirror").iter().filter_map(mirror).collect();
    Some(TransferSettings {
        mode: mode?,
        connections: connections?,
        connections_per_registry: connections_per_registry?,
        spool_max: spool_max?,
        max_rate: max_rate?,
        background_rate: background_rate?,
        mirrors,
        engine_is_here,
    })
}

fn mirror(section: &Section<'_, '_>) -> Option<Mirror> {
    let registry = section.text("registry", value::registry_host);
    let endpoints = section.list("endpoints", endpoint);
    if endpoints.as_ref().is_some_and(Vec::is_empty) {
        let right = "write the mirrors, such as [\"registry-cache.lan:5000\"], or remove this [[mirror]]";
        section.report("endpoints", Wrong::new("the list is empty, so there is no mirror to ask", right));
        return None;
    }
    let cache = section.truth("cache");
    Some(Mirror { registry: registry?, cache: cache?, endpoints: endpoints? })
}

/// `HOST[:PORT]`, or the same as an address with a scheme.
fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let (scheme, host, plain) = match text.split_once("://") {
        None => ("", text, false),
        Some(("https", host)) => ("https://", host, false),
        Some(("http", host)) => ("http://", host, true),
        Some(_) => return Err(Wrong::new(format!("{text:?} is neither http:// nor https://"), "write HOST:PORT")),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    if scheme.is_empty() {
        return Ok(Endpoint { host: value::registry_host(host)?, plain });
    }
    // what was written is named, and what is to be written has the scheme, too
    let wrong = |_| {
        let right =
            format!("write a host with a dot or a port, and no path, such as \"{scheme}registry-cache.lan:5000\"");
        Wrong::new(format!("\"{text}\" is not a registry's address"), right)
    };
    Ok(Endpoint { host: value::registry_host(host).map_err(wrong)?, plain })
}

/// A limit so low that no pull would ever end is a slip.
fn rate(text: &str) -> Result<Bytes, Wrong> {
    match value::size(text)? {
        rate if rate >= LEAST_RATE => Ok(rate),
        rate => Err(Wrong::new(
            format!("with {rate} per second no pull would come to its end"),
            format!("write at least \"{LEAST_RATE}\", or leave it empty for no limit"),
        )),
    }
}

fn mode(text: &str) -> Result<TransferMode, Wrong> {
    match text {
        "auto" => Ok(TransferMode::Auto),
        "engine" => Ok(TransferMode::Engine),
        "relay" => Ok(TransferMode::Relay),
        _ => Err(Wrong::new(
            format!("{text:?} is no way for content to come"),
            "write \"auto\", \"engine\" or \"relay\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Environment};

    fn read(text: &str) -> Result<Config, String> {
        Config::parse(text, "a.toml".as_ref(), &Environment::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn mirrors_are_hosts_and_those_that_speak_plain_http_are_known_to() {
        let config = read(
            "[[mirror]]\nregistry = \"ghcr.io\"\nendpoints = [\"http://10.0.0.2:5000\", \"https://cache.lan/\", \"b.lan:5001\"]\n",
        );
        let config = config.unwrap();
        let repository = "ghcr.io/acme/app".parse().unwrap();
        let mirrors = config.settings.transfer.mirrors_of(&repository);
        let mirrors: Vec<String> = mirrors.iter().map(ToString::to_string).collect();
        assert_eq!(mirrors, ["10.0.0.2:5000/acme/app", "cache.lan/acme/app", "b.lan:5001/acme/app"]);
        assert_eq!(config.settings.transfer.mirrors_of(&"docker.io/library/a".parse().unwrap()), []);
        assert_eq!(config.registry.insecure, ["10.0.0.2:5000"]);
    }

    #[test]
    fn caches_stand_apart_from_mirrors() {
        let mirror =
            |host: &str, more: &str| format!("[[mirror]]\nregistry = \"ghcr.io\"\nendpoints = [\"{host}\"]\n{more}");
        let config = read(&(mirror("a.lan", "") + &mirror("http://10.0.0.2:5000", "cache = true\n"))).unwrap();
        let (transfer, repository) = (&config.settings.transfer, "ghcr.io/acme/app".parse().unwrap());
        let names = |repositories: Vec<layerkeeper_core::Repository>| {
            repositories.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(transfer.mirrors_of(&repository)), ["a.lan/acme/app"]);
        assert_eq!(names(transfer.caches_of(&repository)), ["10.0.0.2:5000/acme/app"]);
        let error = read(&mirror("a.lan", "cache = \"yes\"\n")).unwrap_err();
        assert!(error.contains("this is a text, not true or false"), "{error}");
    }

    #[test]
    fn what_is_no_way_and_no_rate_is_refused_with_what_to_write() {
        for (text, wrong) in [
            ("[pull]\ntransfer = \"fast\"\n", "\"fast\" is no way for content to come"),
            ("[pull]\nmax_rate = \"0 MB\"\n", "no pull would come to its end"),
            ("[pull]\nbackground_rate = \"20\"\n", "has no unit"),
            ("[pull]\nconnections = 0\n", "at least 1"),
            ("[pull]\nconnections = 500\n", "more than a registry will bear"),
            ("[pull]\nconnections_per_registry = 0\n", "at least 1"),
            ("[pull]\nconnections_per_registry = 500\n", "more than a registry will bear"),
            ("[[mirror]]\nregistry = \"ghcr.io\"\nendpoints = [\"ftp://x.lan\"]\n", "neither http:// nor https://"),
            ("[[mirror]]\nregistry = \"ghcr.io\"\n", "endpoints"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wrong) && error.contains("a.toml:"), "{text}: {error}");
        }
    }

    #[test]
    fn one_registry_has_all_connections_unless_told_otherwise() {
        let most = |text: &str| {
            let transfer = read(text).unwrap().settings.transfer;
            (transfer.connections, transfer.connections_per_registry)
        };
        assert_eq!(most(""), (16, 16));
        assert_eq!(most("[pull]\nconnections = 8\n"), (8, 8));
        assert_eq!(most("[pull]\nconnections = 8\nconnections_per_registry = 3\n"), (8, 3));
    }

    #[test]
    fn an_engine_over_the_network_has_another_loopback() {
        let here =
            |host: &str| read(&format!("[engine]\nhost = \"{host}\"\n")).unwrap().settings.transfer.engine_is_here;
        assert!(here("unix:///run/docker.sock"));
        assert!(!here("tcp://127.0.0.1:2375"), "whatever forwards that may lead anywhere");
    }
}
