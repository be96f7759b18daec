//! Docker's `config.json`: where it is, and whom it lets us be at a registry.
//!
//! Source: docker/cli `cli/config/configfile` and `cli/config/credentials/file_store.go`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::credential::helper::{self, Given, Helpers, Problem};
use crate::credential::{Credential, Source};
use crate::error::Error;
use crate::secret::Secret;
use crate::settings::Settings;

const LONGEST: u64 = 1 << 20;
const DOCKER_HUB: &str = "docker.io";

/// The places where the file may be.
#[derive(Debug, Clone)]
pub(crate) struct DockerConfig {
    /// The operator's word: this file must exist.
    named: Option<PathBuf>,
    /// Otherwise the first of these that exists.
    usual: Vec<PathBuf>,
    helpers: Helpers,
}

/// What the file says of a registry.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    /// Nothing: go without credentials.
    None,
    /// These.
    Own(Credential),
    /// The helper of this name has them.
    Helper(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Auth>>>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl DockerConfig {
    /// `variable` reads the environment.
    pub(crate) fn new(settings: &Settings, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let in_dir = |name: &str| variable(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let mut usual: Vec<_> =
            in_dir("CREDENTIALS_DIRECTORY").map(|dir| dir.join("docker-config.json")).into_iter().collect();
        // as docker does: where DOCKER_CONFIG is set, the home directory is not looked at
        let own = in_dir("DOCKER_CONFIG").or_else(|| in_dir("HOME").map(|home| home.join(".docker")));
        usual.extend(own.map(|dir| dir.join("config.json")));
        let helpers = Helpers::new(variable, settings.state_dir.clone(), settings.helper_timeout);
        Self { named: settings.docker_config.clone(), usual, helpers }
    }

    /// Reads the file anew, looks the registry up and asks its helper if it has one; none is anonymous.
    pub(crate) async fn credential(&self, registry: &str) -> Result<Option<Credential>, Error> {
        let Some((path, entry)) = self.entry(registry)? else { return Ok(None) };
        match entry {
            Entry::None => Ok(None),
            Entry::Own(credential) => Ok(Some(credential)),
            Entry::Helper(name) => {
                let (folder, server) = (path.parent().unwrap_or(Path::new("/")), server_address(registry));
                let given = self.helpers.ask(&name, folder, &server).await;
                let given = given.map_err(|Problem { text: problem, may_pass }| {
                    let registry = registry.to_owned();
                    Error::Credentials { path: path.clone(), registry, problem, may_pass }
                })?;
                let program = helper::program(&name);
                tracing::debug!(registry, program, given = given.is_some(), "asked the credential helper");
                Ok(given.map(|given| of_helper(given, program, server)))
            }
        }
    }

    /// Where that comes from; no helper is asked.
    pub(crate) fn source(&self, registry: &str) -> Result<Source, Error> {
        Ok(match self.entry(registry)? {
            None => Source::NoFile,
            Some((file, Entry::None)) => Source::NoEntry(file),
            Some((file, Entry::Own(_))) => Source::File(file),
            Some((file, Entry::Helper(name))) => Source::Helper { file, program: helper::program(&name) },
        })
    }

    /// The file that counts, and what it says; none where there is no file.
    fn entry(&self, registry: &str) -> Result<Option<(PathBuf, Entry)>, Error> {
        let candidates = self.named.as_slice().iter().chain(if self.named.is_some() { &[] } else { &self.usual[..] });
        for path in candidates {
            let problem = |problem: String| {
                let (path, registry) = (path.clone(), registry.to_owned());
                Error::Credentials { path, registry, problem, may_pass: false }
            };
            match read(path) {
                Ok(bytes) => {
                    let entry = parse(&bytes).and_then(|file| file.lookup(registry)).map_err(problem)?;
                    return Ok(Some((path.clone(), entry)));
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.named.is_none() => {}
                Err(e) => return Err(problem(format!("the file cannot be read: {e}"))),
            }
        }
        Ok(None)
    }
}

fn of_helper(given: Given, program: String, server_address: String) -> Credential {
    let (username, password, identity_token) = match given {
        Given::Password { username, secret } => (username, secret, None),
        Given::IdentityToken(token) => (String::new(), Secret::new(""), Some(token)),
    };
    Credential { username, password, identity_token, registry_token: None, helper: Some(program), server_address }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<File, String> {
    if bytes.len() as u64 > LONGEST {
        return Err(format!("the file is longer than {LONGEST} bytes"));
    }
    // as in Docker, which takes an empty file for one that says nothing
    if bytes.trim_ascii().is_empty() {
        return Ok(File::default());
    }
    // serde's own words may quote the file, so only the place is told
    serde_json::from_slice(bytes).map_err(|e| {
        let kind = if e.is_data() { "does not have the form of docker's config.json" } else { "is not valid JSON" };
        format!("the file {kind} (line {}, column {})", e.line(), e.column())
    })
}

impl File {
    /// As in Docker: a helper of the registry's own goes before the store for all, and both before `auths`. An empty name
    /// is none.
    fn lookup(self, registry: &str) -> Result<Entry, String> {
        let wanted = host(registry);
        let helper = self.cred_helpers.unwrap_or_default().into_iter().find(|(key, _)| host(key) == wanted);
        let helper = helper.map(|(_, name)| name).or(self.creds_store).filter(|name| !name.is_empty());
        if let Some(name) = helper {
            return Ok(Entry::Helper(name));
        }
        let mut auths = self.auths.unwrap_or_default();
        let exact = auths.remove_entry(server_address(registry).as_str()).or_else(|| auths.remove_entry(registry));
        let found = exact.or_else(|| auths.into_iter().find(|(key, _)| host(key) == wanted));
        let own = match found {
            Some((key, Some(auth))) => auth.credential(registry, &key)?,
            _ => None,
        };
        Ok(own.map_or(Entry::None, Entry::Own))
    }
}

impl Auth {
    fn credential(self, registry: &str, key: &str) -> Result<Option<Credential>, String> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (mut username, mut password) = match filled(self.auth) {
            Some(auth) => decode(&auth).ok_or_else(|| {
                format!("\"auth\" of {key:?} is not the base64 form of \"user:password\"; run `docker login` again")
            })?,
            None => (self.username.unwrap_or_default(), self.password.unwrap_or_default()),
        };
        let mut identity_token = filled(self.identitytoken);
        if username == "<token>" {
            // how docker's credential stores write an identity token
            identity_token = identity_token.or(filled(Some(std::mem::take(&mut password))));
            username.clear();
        }
        let registry_token = filled(self.registrytoken);
        if username.is_empty() && identity_token.is_none() && registry_token.is_none() {
            return Ok(None);
        }
        Ok(Some(Credential {
            username,
            password: Secret::new(password),
            identity_token: identity_token.map(Secret::new),
            registry_token: registry_token.map(Secret::new),
            helper: None,
            server_address: server_address(registry),
        }))
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}

/// How Docker names a registry where it keeps credentials.
fn server_address(registry: &str) -> String {
    if host(registry) == DOCKER_HUB { "https://index.docker.io/v1/".to_owned() } else { registry.to_owned() }
}

/// Docker's `ConvertToHostname`: keys may be hosts, or addresses with a path (`https://ghcr.io/v1/`).
fn host(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(registry: &str, file: &str) -> Result<Entry, String> {
        parse(file.as_bytes())?.lookup(registry)
    }

    fn user(registry: &str, file: &str) -> Option<(String, String)> {
        match lookup(registry, file).unwrap() {
            Entry::Own(found) => Some((found.username, found.password.expose().to_owned())),
            other => (other != Entry::None).then(|| panic!("{other:?}")),
        }
    }

    #[test]
    fn keys_are_found_in_all_the_forms_that_docker_knows() {
        // c2FsOnNlOmNyZXQ= is sal:se:cret
        for key in ["ghcr.io", "https://ghcr.io", "http://ghcr.io/v1/", "https://ghcr.io/acme/app", "ghcr.io/"] {
            let file = format!(r#"{{"auths":{{"other.io":{{}},"{key}":{{"auth":"c2FsOnNlOmNyZXQ="}}}}}}"#);
            assert_eq!(user("ghcr.io", &file), Some(("sal".into(), "se:cret".into())), "{key}");
            assert_eq!(user("ghcr.io:443", &file), None, "{key}");
        }
        for key in ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io", "https://index.docker.io/v2"] {
            let file = format!(r#"{{"auths":{{"{key}":{{"username":"u","password":"p"}}}}}}"#);
            assert_eq!(user("docker.io", &file), Some(("u".into(), "p".into())), "{key}");
        }
    }

    #[test]
    fn the_exact_key_wins() {
        let file = r#"{"auths":{"http://ghcr.io":{"username":"old","password":"x"},"ghcr.io":{"username":"new","password":"x"}}}"#;
        assert_eq!(user("ghcr.io", file).unwrap().0, "new");
    }

    #[test]
    fn identity_tokens_are_read_in_both_forms() {
        let plain = r#"{"auths":{"docker.io":{"auth":"","identitytoken":"tok"}}}"#;
        let stored = r#"{"auths":{"docker.io":{"username":"<token>","password":"tok"}}}"#;
        for file in [plain, stored] {
            let Entry::Own(found) = lookup("docker.io", file).unwrap() else { panic!("{file}") };
            assert_eq!(found.identity_token, Some(Secret::new("tok")), "{file}");
            assert_eq!(found.server_address, "https://index.docker.io/v1/");
        }
    }

    #[test]
    fn a_helper_of_the_registrys_own_goes_before_the_store_for_all_and_both_before_auths() {
        // YTpi is a:b
        let all = r#"{"credHelpers":{"ghcr.io":"gh","index.docker.io":"hub","r.io":""},"credsStore":"store",
                      "auths":{"ghcr.io":{"auth":"YTpi"},"quay.io":{"auth":"YTpi"},"r.io":{"auth":"YTpi"}}}"#;
        let helper = |name: &str| Ok(Entry::Helper(name.to_owned()));
        assert_eq!(lookup("ghcr.io", all), helper("gh"));
        assert_eq!(lookup("docker.io", all), helper("hub"));
        assert_eq!(lookup("quay.io", all), helper("store"));
        assert_eq!(lookup("other.io", all), helper("store"));
        assert_eq!(user("r.io", all), Some(("a".into(), "b".into())), "an empty name takes the registry out");
        assert_eq!(lookup("ghcr.io", r#"{"credHelpers":{"quay.io":"gh"},"credsStore":""}"#), Ok(Entry::None));
        assert_eq!(lookup("ghcr.io", r#"{"auths":{"ghcr.io":{}},"HttpHeaders":{}}"#), Ok(Entry::None));
        assert_eq!(lookup("ghcr.io", " \n"), Ok(Entry::None));
    }

    #[test]
    fn a_broken_file_is_told_without_its_content() {
        for file in [
            r#"{"auths":{"ghcr.io":{"auth":"hunter2!"}}}"#,
            r#"{"auths":{"ghcr.io":{"auth":"aHVudGVyMg=="}}}"#,
            r#"{"auths":{"ghcr.io":"hunter2"}}"#,
            r#"{"auths":{"ghcr.io":{"password":"hunter2""#,
        ] {
            let problem = lookup("ghcr.io", file).unwrap_err();
            assert!(!problem.contains("hunter2") && !problem.contains("aHVudGVyMg"), "{problem}");
        }
    }

    #[tokio::test]
    async fn the_file_is_looked_for_in_order_and_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let config = DockerConfig::new(&Settings::default(), |name| match name {
            "CREDENTIALS_DIRECTORY" => Some(at("credentials").into()),
            "DOCKER_CONFIG" => Some(at("docker").into()),
            _ => Some(at("home").into()),
        });
        let name = async || config.credential("r.io").await.unwrap().map(|found| found.username);
        let write = |path: &str, user: &str| {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::fs::write(at(path), format!(r#"{{"auths":{{"r.io":{{"username":"{user}"}}}}}}"#)).unwrap();
        };
        write("home/.docker/config.json", "home");
        assert_eq!(name().await, None);
        write("docker/config.json", "docker");
        assert_eq!(name().await.as_deref(), Some("docker"));
        write("credentials/docker-config.json", "systemd");
        assert_eq!(name().await.as_deref(), Some("systemd"));

        let settings = Settings { docker_config: Some(at("missing")), ..Settings::default() };
        let missing = DockerConfig::new(&settings, |_| Some(at("docker").into()));
        let problem = missing.credential("r.io").await.unwrap_err().to_string();
        assert!(problem.contains("missing") && problem.contains("cannot be read"), "{problem}");
    }
}
