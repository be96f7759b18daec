//! Asks every registry that the configuration names, and for every kept image.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use layerkeeper_core::{Digest, Inventory, Keep, Policy, Reference, Timestamp};
use layerkeeper_registry::{Client, Error, Login, Settings, Source};

use super::files::Root;
use super::paths;
use super::quarters::{self, QuartersSeen};
use super::systemd::is_installed;
use crate::config::{Config, Environment};
use crate::doctor::kept::{Held, KeptSeen, Shown};
use crate::doctor::path::PathSeen;
use crate::doctor::registry::{Access, LoginFile, OF_THE_UNIT, RegistrySeen};
use crate::run::registry_settings;

/// What the unit hands out where that file is not there: no logins.
const NO_LOGINS: &str = "/dev/null";
/// Nobody waits for a doctor as long as for a pull.
const PATIENCE: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);

/// Asks them, one after the other; and measures the path to each that let us in.
pub async fn look(
    config: &Config,
    environment: &Environment,
    root: &Root,
    inventory: Option<&Inventory>,
    now: Timestamp,
) -> anyhow::Result<(Vec<RegistrySeen>, Vec<KeptSeen>, Vec<PathSeen>)> {
    let file = logins(config, environment, root);
    let is_named = config.registry.docker_config.is_some();
    let login_file = file.clone().map(|path| LoginFile { is_there: is_there(&path), path, is_named });
    let settings = Settings {
        docker_config: file.as_deref().map(|file| to_read(file, config).to_owned()),
        resolve_timeout: PATIENCE,
        image_timeout: PATIENCE,
        connect_timeout: CONNECT,
        ..registry_settings(config)
    };
    let client = Client::new(settings).context("the registry client cannot be set up")?;
    // of a series any name will do here
    let effective = config.settings.at(&BTreeMap::new(), now);
    let policy = &effective.policy;
    let (mut registries, mut paths) = (Vec::new(), Vec::new());
    for (_, asked) in to_ask(policy, inventory) {
        let seen = registry(&client, &asked, may_ask_helpers(&config.state.dir)).await;
        if let (Access::Granted, Some(inventory)) = (&seen.access, inventory) {
            paths.extend(paths::look(&client, &asked, inventory, &config.settings.transfer).await);
        }
        registries.push(RegistrySeen { file: login_file.clone(), ..seen });
    }
    let mut kept = Vec::new();
    for keep in &policy.keep {
        let access = registries.iter().find(|seen| seen.registry == keep.image.repository.registry());
        let silent = match access.map(|seen| &seen.access) {
            Some(Access::Failed(cause)) => Some(Shown::Unknown(cause.clone())),
            Some(Access::Unasked) => Some(Shown::Unasked),
            _ => None,
        };
        let seen = match effective.series_of(&keep.image) {
            Some(of) => quarters::look(silent.is_none().then_some(&client), of, inventory, now).await,
            None => QuartersSeen { keep: keep.clone(), unknown: None, others: Vec::new() },
        };
        let QuartersSeen { keep, unknown, others } = seen;
        let judged = match silent.or(unknown) {
            Some(shown) => all(&keep, &shown),
            None => one(&client, &keep, inventory).await,
        };
        kept.push(KeptSeen { others, ..judged });
    }
    Ok((registries, kept, paths))
}

/// The file that counts for the daemon, there or not; none where it is that of whoever runs it. Systemd copies the unit's
/// file for the daemon, which sees no home; whoever runs this has no such copy, but maybe logins at home.
fn logins(config: &Config, environment: &Environment, root: &Root) -> Option<PathBuf> {
    let of_the_unit = root.at(OF_THE_UNIT);
    let counts = environment.credentials.is_none() && (is_there(&of_the_unit) || is_installed(root));
    config.registry.docker_config.clone().or_else(|| counts.then_some(of_the_unit))
}

/// What to read for it: only a file that the configuration names has to exist.
fn to_read<'a>(file: &'a Path, config: &Config) -> &'a Path {
    let is_named = config.registry.docker_config.is_some();
    if is_named || is_there(file) { file } else { Path::new(NO_LOGINS) }
}

fn is_there(file: &Path) -> bool {
    !matches!(file.metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

/// By registry, one reference to ask for: a kept image, else a tag that is here, else one that may not exist, for "there is
/// no such tag" is an answer that only those get who are let in.
fn to_ask(policy: &Policy, inventory: Option<&Inventory>) -> BTreeMap<String, Reference> {
    let mut asked = BTreeMap::new();
    let kept = policy.keep.iter().map(|keep| keep.image.to_reference());
    let deployed = policy.runtime.iter().filter_map(|runtime| {
        let here = inventory.into_iter().flat_map(|inventory| &inventory.images).flat_map(|image| &image.names);
        let tag = here.filter(|name| runtime.may_deploy(name)).max().map(|name| name.tag.clone());
        let tag = tag.or_else(|| {
            format!("{}:latest", runtime.repository).parse::<layerkeeper_core::ImageName>().ok().map(|name| name.tag)
        })?;
        Some(runtime.repository.tagged(tag).to_reference())
    });
    for reference in kept.chain(deployed) {
        asked.entry(reference.repository.registry().to_owned()).or_insert(reference);
    }
    asked
}

/// A helper may keep files in its HOME, which for the daemon's is the state directory: what root made there, the daemon's
/// user could not write.
fn may_ask_helpers(state: &Path) -> bool {
    state.metadata().is_ok_and(|meta| meta.uid() == rustix::process::geteuid().as_raw())
}

async fn registry(client: &Client, asked: &Reference, may_ask_helpers: bool) -> RegistrySeen {
    let registry = asked.repository.registry().to_owned();
    let source = match client.source(&registry) {
        Ok(Source::NoEntry(file)) if file == Path::new(NO_LOGINS) => Ok(Source::NoFile),
        source => source.map_err(|error| error.to_string()),
    };
    let probe = client.probe(&registry).await.map_err(|error| error.to_string());
    if let (Ok(Source::Helper { program, .. }), false) = (&source, may_ask_helpers) {
        let (login, access) = (Login::Helper(program.clone()), Access::Unasked);
        let asked = asked.to_string();
        return RegistrySeen { registry, source, file: None, probe, login, expires: None, asked, access };
    }
    let credential = client.credential(&registry).await;
    let (login, expires) = match &credential {
        Ok(Some(credential)) => (credential.login(), credential.expires()),
        Ok(None) | Err(_) => (Login::Anonymous, None),
    };
    let access = match (&probe, &credential) {
        (_, Err(error)) => Access::NoCredentials(error.to_string()),
        (Err(cause), _) => Access::Failed(cause.clone()),
        (Ok(_), Ok(_)) => match client.resolve(asked).await {
            Ok(_) | Err(Error::NotFound { .. }) => Access::Granted,
            Err(error @ (Error::Unauthorized { .. } | Error::Forbidden { .. })) => Access::Refused(error.to_string()),
            Err(error @ Error::Credentials { .. }) => Access::NoCredentials(error.to_string()),
            Err(error) => Access::Failed(error.to_string()),
        },
    };
    RegistrySeen { registry, source, file: None, probe, login, expires, asked: asked.to_string(), access }
}

fn all(keep: &Keep, shown: &Shown) -> KeptSeen {
    KeptSeen {
        keep: keep.clone(),
        tag: shown.clone(),
        pinned: keep.pin.map(|_| shown.clone()),
        others: Vec::new(),
        held: Held::Unasked,
    }
}

async fn one(client: &Client, keep: &Keep, inventory: Option<&Inventory>) -> KeptSeen {
    let tag = shown(client, &keep.image.to_reference(), keep.pin, inventory).await;
    let pinned = match keep.pin {
        Some(pin) if tag != Shown::Image(pin) => {
            Some(shown(client, &keep.image.repository.by_digest(pin), None, inventory).await)
        }
        _ => None,
    };
    KeptSeen { keep: keep.clone(), tag, pinned, others: Vec::new(), held: Held::Unasked }
}

/// Where the engine's platform is known, the image for it is read; else only the reference is resolved. A pin may be the
/// platform's manifest inside the tag's index.
async fn shown(client: &Client, reference: &Reference, pin: Option<Digest>, inventory: Option<&Inventory>) -> Shown {
    let read = match inventory {
        Some(inventory) => client.image(reference, &inventory.engine.platform).await.map(|fetched| {
            let image = fetched.image;
            if pin == Some(image.manifest.digest) { image.manifest.digest } else { image.resolved }
        }),
        None => client.resolve(reference).await.map(|resolved| resolved.digest),
    };
    match read {
        Ok(digest) => Shown::Image(digest),
        Err(Error::NotFound { .. }) => Shown::Gone,
        Err(error @ (Error::NotAnImage { .. } | Error::NoPlatform { .. } | Error::Missing { .. })) => {
            Shown::Unfit(error.to_string())
        }
        Err(error) => Shown::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample::{inventory, policy};

    #[test]
    fn each_registry_is_asked_for_what_it_should_have() {
        let mut policy = policy();
        let asked = |policy: &Policy, inventory: Option<&Inventory>| -> Vec<String> {
            to_ask(policy, inventory).values().map(ToString::to_string).collect()
        };
        assert_eq!(asked(&policy, None), ["ghcr.io/acme/base:1"]);
        policy.keep.clear();
        assert_eq!(asked(&policy, Some(&inventory())), ["ghcr.io/acme/app:sha-3"]);
        assert_eq!(asked(&policy, None), ["ghcr.io/acme/app:latest"]);
    }

    #[test]
    fn the_units_own_credentials_go_before_those_of_whoever_asks() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let config = |text: &str| Config::parse(text, "a.toml".as_ref(), &Environment::default()).unwrap();
        let (plain, named) = (config(""), config("[registry]\ndocker_config = \"/x/config.json\"\n"));
        let environment = Environment::default();
        let seen = |config: &Config, environment: &Environment| {
            let file = logins(config, environment, &root);
            let read = file.as_deref().map(|file| to_read(file, config).to_owned());
            (file, read)
        };
        let unit = Some(root.at(OF_THE_UNIT));
        assert_eq!(seen(&plain, &environment), (None, None));
        let installed = root.at("/usr/local/lib/systemd/system/layerkeeper.service");
        std::fs::create_dir_all(installed.parent().unwrap()).unwrap();
        std::fs::write(&installed, "").unwrap();
        assert_eq!(seen(&plain, &environment), (unit.clone(), Some(NO_LOGINS.into())), "the daemon sees no home");
        std::fs::create_dir_all(root.at("/etc/layerkeeper")).unwrap();
        std::fs::write(root.at(OF_THE_UNIT), "{}").unwrap();
        assert_eq!(seen(&plain, &environment), (unit.clone(), unit.clone()));
        std::fs::remove_file(installed).unwrap();
        assert_eq!(seen(&plain, &environment), (unit.clone(), unit));
        let named_file = Some(PathBuf::from("/x/config.json"));
        assert_eq!(seen(&named, &environment), (named_file.clone(), named_file), "it has to exist");
        let inside = Environment { credentials: Some("/run/credentials".into()), ..environment };
        assert_eq!(seen(&plain, &inside), (None, None), "the client looks there by itself");
    }
}
