//! Registries: do they answer, do they take our credentials, and for how long?

use std::time::Duration;

use layerkeeper_core::Timestamp;
use layerkeeper_registry::{Login, Probe, Source};

use super::finding::{Finding, Level};
use crate::render::amount::{instant, relative};

/// Credentials that run out sooner than this are a warning.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// What was seen of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySeen {
    /// Its host.
    pub registry: String,
    /// Where the credentials come from, or why that cannot be told.
    pub source: Result<Source, String>,
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
    let from = source(&seen.source);
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
fn source(source: &Result<Source, String>) -> String {
    match source {
        Ok(Source::NoFile) => " (there is no config.json)".to_owned(),
        Ok(Source::NoEntry(file)) => format!(" ({} has no entry for it)", file.display()),
        Ok(Source::File(file)) => format!(" (from {})", file.display()),
        Ok(Source::Helper { file, .. }) => format!(" (named in {})", file.display()),
        Err(_) => String::new(),
    }
}

fn login_again(seen: &RegistrySeen) -> String {
    let folder = |file: &std::path::Path| file.parent().unwrap_or(file).display().to_string();
    match &seen.source {
        Ok(Source::Helper { program, .. }) => {
            format!(
                "echo {} | {program} get, as the daemon's user with HOME=/var/lib/layerkeeper, shows what the helper says",
                seen.registry
            )
        }
        Ok(Source::File(file) | Source::NoEntry(file))
            if file.file_name().is_some_and(|name| name == "config.json") =>
        {
            format!("sudo docker --config {} login {}", folder(file), seen.registry)
        }
        Ok(Source::File(file) | Source::NoEntry(file)) => format!(
            "sudo docker --config /root/.layerkeeper-login login {} && sudo install -m 600 \
             /root/.layerkeeper-login/config.json {} && sudo systemctl restart layerkeeper; sudo rm -r \
             /root/.layerkeeper-login",
            seen.registry,
            file.display()
        ),
        Ok(Source::NoFile) | Err(_) => {
            format!("sudo docker login {}, and name the file with [registry] docker_config", seen.registry)
        }
    }
}

fn url(registry: &str) -> String {
    let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    format!("https://{host}/v2/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_489_200_000);

    fn seen(access: Access) -> RegistrySeen {
        RegistrySeen {
            registry: "ghcr.io".to_owned(),
            source: Ok(Source::File("/etc/layerkeeper/docker-config.json".into())),
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
        let mend =
            |source| judge(&RegistrySeen { source, ..seen(Access::Refused(String::new())) }, NOW)[0].mend.clone();
        assert_eq!(
            mend(Ok(Source::File("/root/.docker/config.json".into()))),
            "sudo docker --config /root/.docker login ghcr.io"
        );
        assert!(mend(Ok(Source::NoEntry("/etc/x/docker-config.json".into()))).contains("install -m 600"));
        assert!(mend(Ok(Source::NoFile)).contains("[registry] docker_config"));
    }
}
