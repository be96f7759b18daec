//! Credential helpers: programs called `docker-credential-NAME` that keep logins for docker's `config.json`.
//!
//! `docker-credential-NAME get` takes the registry on its standard input and answers with JSON on its standard output.
//! Nothing that it gives is kept here; every question to a registry asks anew.
//!
//! Source: docker/docker-credential-helpers `client/client.go`, docker/cli `cli/config/credentials/native_store.go`.

mod run;

use std::env::{join_paths, split_paths};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use crate::error::quotable;
use crate::secret::Secret;
use run::{Ended, Failure, MOST, run};

/// What a helper prints when it has nothing for a registry. Docker goes on without credentials then.
const NOTHING: &str = "credentials not found in native keychain";
/// How a helper marks an identity token.
const TOKEN: &str = "<token>";
/// Where helpers are usually installed; a service's PATH may lack some of these.
const USUAL: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// systemd's messages to the daemon are none of a helper's business.
const NOT_PASSED_ON: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// How helpers are found and run.
#[derive(Debug, Clone)]
pub(crate) struct Helpers {
    path: Vec<PathBuf>,
    /// Where the environment has none.
    home: Option<PathBuf>,
    limit: Duration,
}

/// What a helper has for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    Password { username: String, secret: Secret },
    IdentityToken(Secret),
}

/// Why a helper gave nothing that can be used, as a sentence that names it and shows nothing of what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) text: String,
    /// May it work the next time without anybody's doing?
    pub(crate) may_pass: bool,
}

// Go, in which helpers and docker are written, takes keys in any case
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", alias = "username", default)]
    username: String,
    #[serde(rename = "Secret", alias = "secret", default)]
    secret: String,
}

impl Helpers {
    /// `variable` reads the environment; `home` is used where that has no HOME.
    pub(crate) fn new(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>, limit: Duration) -> Self {
        let own: Vec<PathBuf> = variable("PATH").map(|path| split_paths(&path).collect()).unwrap_or_default();
        let mut path: Vec<PathBuf> = Vec::new();
        for dir in own.into_iter().chain(USUAL.map(PathBuf::from)) {
            // a relative one would depend on where the daemon was started
            if dir.is_absolute() && !path.contains(&dir) {
                path.push(dir);
            }
        }
        let home = home.filter(|_| variable("HOME").is_none_or(|home| home.is_empty()));
        Self { path, home, limit }
    }

    /// Asks the helper called `name` in the `config.json` of this folder; none where it has nothing for this server.
    pub(crate) async fn ask(&self, name: &str, folder: &Path, server: &str) -> Result<Option<Given>, Problem> {
        let program = program(name);
        let lasting = |text: String| Problem { text, may_pass: false };
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c)) {
            return Err(lasting(format!("{name:?} is no name of a credential helper")));
        }
        let mut path = self.path.clone();
        path.push(folder.to_owned());
        let file = find(&program, &path).map_err(lasting)?;
        let mut command = Command::new(&file);
        command.arg("get").env("PATH", join_paths(&path).unwrap_or_default());
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        for variable in NOT_PASSED_ON {
            command.env_remove(variable);
        }
        let more = format!("`echo {server} | {program} get`, run as the daemon's user, shows more");
        match run(command, server, self.limit).await {
            Ok(ended) => read(&program, &ended)
                .map_err(|problem| Problem { text: format!("{}; {more}", problem.text), ..problem }),
            Err(Failure::Start(error)) => Err(lasting(format!("{} cannot be started: {error}", file.display()))),
            Err(Failure::TooMuch) => {
                Err(lasting(format!("the credential helper {program} printed more than {MOST} bytes; {more}")))
            }
            Err(Failure::Silent) => {
                let limit = self.limit.as_secs_f64();
                let text = format!(
                    "the credential helper {program} gave no answer within {limit} s and was ended; it may be waiting \
                     for a password or for its own server; {more}"
                );
                Err(Problem { text, may_pass: true })
            }
        }
    }
}

/// The program behind a helper's name.
pub(crate) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

fn find(program: &str, path: &[PathBuf]) -> Result<PathBuf, String> {
    let is_fit = |file: &Path| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let there: Vec<PathBuf> = path.iter().map(|dir| dir.join(program)).filter(|file| file.exists()).collect();
    if let Some(file) = there.iter().find(|file| is_fit(file)) {
        return Ok(file.clone());
    }
    if let Some(file) = there.first() {
        return Err(format!("the credential helper {} is not an executable file", file.display()));
    }
    let dirs = join_paths(path).unwrap_or_default();
    Err(format!(
        "the credential helper {program} is not in {}; install it there, or put the login into \"auths\" of a \
         config.json of layerkeeper's own",
        dirs.to_string_lossy()
    ))
}

fn read(program: &str, ended: &Ended) -> Result<Option<Given>, Problem> {
    let wrong = |what: &str| Problem { text: format!("the credential helper {program} {what}"), may_pass: false };
    if ended.stdout.trim_ascii() == NOTHING.as_bytes() {
        return Ok(None);
    }
    if !ended.status.success() {
        // its standard output may hold a secret; the reason that helpers print there is left to whoever looks for it
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.lines().map(str::trim).find(|line| !line.is_empty()).map(|line| quotable(line, 200));
        let text = format!(
            "the credential helper {program} failed ({}){}",
            ended.status,
            said.map(|line| format!(": {line}")).unwrap_or_default()
        );
        return Err(Problem { text, may_pass: true });
    }
    // serde's own words may quote what was printed
    let answer: Answer = serde_json::from_slice(&ended.stdout)
        .map_err(|_| wrong("printed what is not the JSON of credentials (ServerURL, Username, Secret)"))?;
    match (answer.username.as_str(), answer.secret.as_str()) {
        (_, "") => Err(wrong("gave no Secret")),
        ("", _) => Err(wrong("gave no Username")),
        (TOKEN, _) => Ok(Some(Given::IdentityToken(Secret::new(answer.secret)))),
        _ => Ok(Some(Given::Password { username: answer.username, secret: Secret::new(answer.secret) })),
    }
}
