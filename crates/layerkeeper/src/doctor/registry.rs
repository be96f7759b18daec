//! Registries: do they answer, do they take our credentials, and for how long?

use std::path::{Path, PathBuf};
use std::time::Duration;

use layerkeeper_core::Timestamp;
use layerkeeper_registry::{Login, Probe, Source};

use super::finding::{Finding, Level};
use crate::render::amount::{instant, relative};

/// Where the shipped unit has the daemon's logins from.
pub const OF_THE_UNIT: &str = "/etc/layerkeeper/docker-config.json";
/// Where the advice has a login made: `docker login` takes no other name than this folder's `config.json`.
const LOGIN: &str = "/root/.layerkeeper-login";

/// Credentials that run out sooner than this are a warning.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// What was seen of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySeen {
    /// Its host.
    pub registry: String,
    /// Where the credentials come from, or why that cannot be told.
    pub source: Result<Source, String>,
    /// The file that the daemon takes them from, there or not; none where it is that of whoever runs it.
    pub file: Option<LoginFile>,
    /// Its answer to a stranger, or why there was none.
    pub probe: Result<Probe, String>,
    /// With what it was asked.
    pub login: Login,
    /// When the credentials run out, where they say so.
    pub expires: Option<Timestamp>,
    /// The reference that was asked for with them.
    pub asked: String,
    /// What became of it.
    pub access: Access,
}

/// The file with the daemon's logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFile {
    /// Where.
    pub path: PathBuf,
    /// The configuration names it, so that the daemon reads it itself; else systemd reads it for the daemon, as root.
    pub is_named: bool,
    /// There is such a file.
    pub is_there: bool,
}

/// Did the registry let us in?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Granted,
    /// No: it does not know the credentials, or they may not.
    Refused(String),
    /// The file or its helper gave none.
    NoCredentials(String),
    /// A helper has the credentials, and as this user it was not asked.
    Unasked,
    /// It gave no answer, or another.
    Failed(String),
}

/// Judges one registry.
pub fn judge(seen: &RegistrySeen, now: Timestamp) -> Vec<Finding> {
    let RegistrySeen { registry, login, asked, .. } = seen;
    let from = source(seen);
    let found = match &seen.access {
        Access::Unasked => Finding::new(
            Level::Note,
            "registry.unasked",
            format!("whether {registry} lets us in is not known{from}: a helper has the credentials, and it is only asked as the daemon's user"),
        )
        .why("What a helper leaves behind when another user runs it may keep the daemon's from working; layerkeeper status \
              tells whether the last refresh succeeded")
        .mend(login_again(seen)),
        Access::NoCredentials(cause) if cause.contains("ermission denied") => {
            Finding::new(Level::Note, "registry.unread", format!("whether {registry} lets us in is not known: {cause}"))
                .why("The daemon has its own copy of the credentials, which only root may read")
                .mend("sudo layerkeeper doctor")
        }
        Access::NoCredentials(cause) => {
            Finding::new(Level::Problem, "registry.credentials", format!("no credentials for {registry}: {cause}"))
                .why("Pulls are not tried without the credentials that the configuration promises")
                .mend(login_again(seen))
        }
        Access::Failed(cause) => {
            Finding::new(Level::Problem, "registry.unreachable", format!("{registry} gives no good answer: {cause}"))
                .why("Kept images cannot be refreshed or healed, and only a deploy of what is here already can succeed")
                .mend(format!(
                    "curl -v {} from this host; behind a proxy set HTTPS_PROXY in /etc/default/layerkeeper",
                    url(registry)
                ))
        }
        Access::Refused(cause) => Finding::new(
            Level::Problem,
            "registry.refused",
            format!("{registry} refuses {asked} {login}{from}: {cause}"),
        )
        .why("Every pull from there fails until it takes the credentials")
        .mend(login_again(seen)),
        Access::Granted if *login == Login::Anonymous && registry == "docker.io" => Finding::new(
            Level::Note,
            "registry.anonymous",
            format!("{registry} gives {asked} without credentials{from}"),
        )
        .why("Docker Hub counts pulls of strangers by address, and answers 429 when there were too many")
        .mend(login_again(seen)),
        Access::Granted if *login == Login::Anonymous => {
            Finding::ok("registry.ok", format!("{registry} gives {asked} without credentials{from}"))
        }
        Access::Granted => return granted(seen, &from, now),
    };
    vec![found]
}

fn granted(seen: &RegistrySeen, from: &str, now: Timestamp) -> Vec<Finding> {
    let what = format!("{} lets us in {}{from}", seen.registry, seen.login);
    let by_helper = matches!(seen.source, Ok(Source::Helper { .. }));
    let Some(expires) = seen.expires else {
        let until =
            if by_helper { "asked anew before each pull" } else { "when they run out cannot be told from them" };
        return vec![Finding::ok("registry.ok", format!("{what}; {until}"))];
    };
    let when = format!("{what}; they run out {}, at {}", relative(expires.0, now.0), instant(expires.0));
    // a helper gives new ones in time, that is what it is for
    if by_helper || expires > now.plus(SOON) {
        return vec![Finding::ok("registry.ok", when)];
    }
    let level = if expires <= now { Level::Problem } else { Level::Warning };
    let found = Finding::new(level, "registry.expires", when).why("From then on every pull from there fails");
    vec![found.mend(login_again(seen))]
}

/// ` from FILE`, in words.
fn source(seen: &RegistrySeen) -> String {
    match (&seen.source, &seen.file) {
        (Ok(Source::NoFile), Some(file)) => format!(" (there is no {})", file.path.display()),
        (Ok(Source::NoFile), None) => " (there is no config.json)".to_owned(),
        (Ok(Source::NoEntry(file)), _) => format!(" ({} has no entry for it)", file.display()),
        (Ok(Source::File(file)), _) => format!(" (from {})", file.display()),
        (Ok(Source::Helper { file, .. }), _) => format!(" (named in {})", file.display()),
        (Err(_), _) => String::new(),
    }
}

fn login_again(seen: &RegistrySeen) -> String {
    let registry = &seen.registry;
    match (&seen.source, &seen.file) {
        (Ok(Source::Helper { program, .. }), _) => {
            format!(
                "echo {registry} | {program} get, as the daemon's user with HOME=/var/lib/layerkeeper, shows what the helper \
                 says"
            )
        }
        (Ok(Source::File(file) | Source::NoEntry(file)), _) => match (file.parent(), file.file_name()) {
            (Some(folder), Some(name)) if name == "config.json" => {
                format!("sudo docker --config {} login {registry}", folder.display())
            }
            // the file has other logins, and its owner and mode let the daemon read it
            _ => {
                let file_is = file.display();
                let before = format!("sudo install -D -m 600 {file_is} {LOGIN}/config.json && ");
                login_into(registry, file, &before, &format!("sudo cp {LOGIN}/config.json {file_is}"))
            }
        },
        // a file that cannot be read: what is copied onto it leaves it to its owner, with its mode
        (Ok(Source::NoFile) | Err(_), Some(LoginFile { path, is_there: true, .. })) => {
            let file_is = path.display();
            let put = format!("sudo cp -p {file_is} {file_is}~ && sudo cp {LOGIN}/config.json {file_is}");
            format!("{} # {file_is}~ is what it was", login_into(registry, path, "", &put))
        }
        (Ok(Source::NoFile) | Err(_), Some(LoginFile { path, is_named, .. })) => {
            let owner = if *is_named { "-o layerkeeper " } else { "" };
            let put = format!("sudo install -D {owner}-m 600 {LOGIN}/config.json {}", path.display());
            login_into(registry, path, "", &put)
        }
        (Ok(Source::NoFile) | Err(_), None) => format!("docker login {registry}, as the user that runs layerkeeper"),
    }
}

/// A login in a folder of its own, which goes again whatever comes of it.
fn login_into(registry: &str, file: &Path, before: &str, put: &str) -> String {
    // the unit hands out a copy at start; what the configuration names is read before each pull
    let restart = if is_of_the_unit(file) { " && sudo systemctl restart layerkeeper" } else { "" };
    format!("{before}sudo docker --config {LOGIN} login {registry} && {put}{restart}; sudo rm -r {LOGIN}")
}

fn is_of_the_unit(file: &Path) -> bool {
    file.ends_with(OF_THE_UNIT.trim_start_matches('/'))
}

fn url(registry: &str) -> String {
    let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    format!("https://{host}/v2/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_489_200_000);

    fn of_the_unit() -> LoginFile {
        LoginFile { path: OF_THE_UNIT.into(), is_named: false, is_there: true }
    }

    fn seen(access: Access) -> RegistrySeen {
        RegistrySeen {
            registry: "ghcr.io".to_owned(),
            source: Ok(Source::File(OF_THE_UNIT.into())),
            file: Some(of_the_unit()),
            probe: Err(String::new()),
            login: Login::User("ci".to_owned()),
            expires: None,
            asked: "ghcr.io/acme/base:1".to_owned(),
            access,
        }
    }

    fn judged(seen: &RegistrySeen) -> (&'static str, Level, String) {
        let found = judge(seen, NOW).remove(0);
        assert!(found.level == Level::Ok || !found.mend.is_empty(), "{found:?}");
        (found.id, found.level, found.what)
    }

    #[test]
    fn who_lets_us_in_and_who_does_not_is_told() {
        let (id, level, what) = judged(&seen(Access::Granted));
        assert_eq!((id, level), ("registry.ok", Level::Ok));
        assert!(
            what.starts_with("ghcr.io lets us in as user \"ci\" (from /etc/layerkeeper/docker-config.json)"),
            "{what}"
        );
        let (id, level, what) = judged(&seen(Access::Refused("wrong password".into())));
        assert_eq!((id, level), ("registry.refused", Level::Problem));
        assert!(
            what.contains("refuses ghcr.io/acme/base:1 as user \"ci\"") && what.ends_with("wrong password"),
            "{what}"
        );
        assert_eq!(
            (judged(&seen(Access::Unasked)).0, judged(&seen(Access::Unasked)).1),
            ("registry.unasked", Level::Note)
        );
        assert_eq!(judged(&seen(Access::NoCredentials("x".into()))).0, "registry.credentials");
        let unread = Access::NoCredentials("the file cannot be read: Permission denied (os error 13)".into());
        assert_eq!((judged(&seen(unread.clone())).0, judged(&seen(unread)).1), ("registry.unread", Level::Note));
        assert_eq!(judged(&seen(Access::Failed("x".into()))).0, "registry.unreachable");
    }

    #[test]
    fn a_stranger_is_fine_except_at_docker_hub() {
        let anonymous = RegistrySeen { login: Login::Anonymous, source: Ok(Source::NoFile), ..seen(Access::Granted) };
        assert_eq!(judged(&anonymous).0, "registry.ok");
        let hub = RegistrySeen { registry: "docker.io".to_owned(), ..anonymous };
        assert_eq!((judged(&hub).0, judged(&hub).1), ("registry.anonymous", Level::Note));
    }

    #[test]
    fn the_end_of_credentials_is_a_warning_a_week_before() {
        let until =
            |days: i64| RegistrySeen { expires: Some(Timestamp(NOW.0 + days * 86_400_000)), ..seen(Access::Granted) };
        assert_eq!(judged(&until(30)).1, Level::Ok);
        assert_eq!((judged(&until(6)).0, judged(&until(6)).1), ("registry.expires", Level::Warning));
        assert_eq!(judged(&until(-1)).1, Level::Problem);
        let helper = Source::Helper { file: "/c.json".into(), program: "docker-credential-x".to_owned() };
        let helped = RegistrySeen { source: Ok(helper), ..until(1) };
        assert_eq!(judged(&helped).1, Level::Ok, "a helper gives new ones");
    }

    #[test]
    fn what_mends_it_fits_where_the_credentials_are() {
        let named = || LoginFile { path: "/srv/ours.json".into(), is_named: true, is_there: true };
        let mend = |source, file: Option<LoginFile>| {
            judge(&RegistrySeen { source, file, ..seen(Access::Refused(String::new())) }, NOW)[0].mend.clone()
        };
        assert_eq!(
            mend(Ok(Source::File("/root/.docker/config.json".into())), None),
            "sudo docker --config /root/.docker login ghcr.io"
        );
        // the logins of other registries go along
        for source in [Source::File(OF_THE_UNIT.into()), Source::NoEntry(OF_THE_UNIT.into())] {
            assert_eq!(
                mend(Ok(source), Some(of_the_unit())),
                "sudo install -D -m 600 /etc/layerkeeper/docker-config.json /root/.layerkeeper-login/config.json && \
                 sudo docker --config /root/.layerkeeper-login login ghcr.io && \
                 sudo cp /root/.layerkeeper-login/config.json /etc/layerkeeper/docker-config.json && \
                 sudo systemctl restart layerkeeper; sudo rm -r /root/.layerkeeper-login"
            );
        }
        assert!(!mend(Ok(Source::NoEntry("/srv/ours.json".into())), Some(named())).contains("restart"));
        assert_eq!(
            mend(Ok(Source::NoFile), Some(LoginFile { is_there: false, ..of_the_unit() })),
            "sudo docker --config /root/.layerkeeper-login login ghcr.io && \
             sudo install -D -m 600 /root/.layerkeeper-login/config.json /etc/layerkeeper/docker-config.json && \
             sudo systemctl restart layerkeeper; sudo rm -r /root/.layerkeeper-login"
        );
        assert_eq!(
            mend(Err("broken".into()), Some(of_the_unit())),
            "sudo docker --config /root/.layerkeeper-login login ghcr.io && \
             sudo cp -p /etc/layerkeeper/docker-config.json /etc/layerkeeper/docker-config.json~ && \
             sudo cp /root/.layerkeeper-login/config.json /etc/layerkeeper/docker-config.json && \
             sudo systemctl restart layerkeeper; sudo rm -r /root/.layerkeeper-login \
             # /etc/layerkeeper/docker-config.json~ is what it was"
        );
        // the daemon reads what the configuration names, and root's it could not
        let broken = mend(Err("broken".into()), Some(named()));
        assert!(broken.contains("sudo cp /root/.layerkeeper-login/config.json /srv/ours.json;"), "{broken}");
        let missing = mend(Err("not there".into()), Some(LoginFile { is_there: false, ..named() }));
        let put = "sudo install -D -o layerkeeper -m 600 /root/.layerkeeper-login/config.json /srv/ours.json;";
        assert!(missing.contains(put), "{missing}");
        for mend in [broken, missing] {
            assert!(!mend.contains("install -D -b"), "{mend}");
        }
        assert_eq!(mend(Ok(Source::NoFile), None), "docker login ghcr.io, as the user that runs layerkeeper");
    }
}
