//! What one may show to a registry, and how errors speak of it.

mod expiry;
pub(crate) mod helper;

use std::fmt;
use std::path::PathBuf;

use layerkeeper_core::Digest;

use crate::secret::Secret;

/// Credentials for one registry, as Docker's `config.json` holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// May be empty where there is an identity token.
    pub username: String,
    /// May be empty where there is an identity token.
    pub password: Secret,
    /// An OAuth2 refresh token, to be used in place of the password.
    pub identity_token: Option<Secret>,
    /// A bearer token to be sent to the registry as it is.
    pub registry_token: Option<Secret>,
    /// The program that gave them, `docker-credential-NAME`, where they are not in the file itself.
    pub helper: Option<String>,
    /// The registry, as Docker's API wants it named: the host, or `https://index.docker.io/v1/` for docker.io.
    pub server_address: String,
}

/// With which credentials a registry was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// None.
    Anonymous,
    /// User name and password.
    User(String),
    /// A token from docker's configuration.
    Token,
    /// What this program gave, `docker-credential-NAME`.
    Helper(String),
}

/// Where the credentials for a registry come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// There is no `config.json` in any of the places where one is looked for: anonymous.
    NoFile,
    /// This file says nothing of the registry: anonymous.
    NoEntry(PathBuf),
    /// They stand in this file.
    File(PathBuf),
    /// This file names a helper, which is asked each time.
    Helper {
        /// The file.
        file: PathBuf,
        /// `docker-credential-NAME`
        program: String,
    },
}

impl Credential {
    /// How errors speak of these credentials.
    pub fn login(&self) -> Login {
        if let Some(program) = &self.helper {
            Login::Helper(program.clone())
        } else if self.identity_token.is_some() || self.registry_token.is_some() {
            Login::Token
        } else {
            Login::User(self.username.clone())
        }
    }

    /// The same number for the same credentials: what was granted to others must not be used for these.
    pub(crate) fn fingerprint(&self) -> Digest {
        let token = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned()).unwrap_or_default();
        let parts = [
            self.username.clone(),
            self.password.expose().to_owned(),
            token(&self.identity_token),
            token(&self.registry_token),
        ];
        Digest::of(parts.join("\0").as_bytes())
    }

    /// Every text in here that no error may show.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        [Some(&self.password), self.identity_token.as_ref(), self.registry_token.as_ref()]
            .into_iter()
            .flatten()
            .map(Secret::expose)
    }
}

impl Login {
    pub(crate) fn of(credential: Option<&Credential>) -> Self {
        credential.map_or(Self::Anonymous, Credential::login)
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("without credentials"),
            Self::User(name) => write!(f, "as user {name:?}"),
            Self::Token => f.write_str("with a token from docker's configuration"),
            Self::Helper(program) => write!(f, "with the credentials that the helper {program} gave"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let credential = Credential {
            username: "ci".into(),
            password: Secret::new("hunter2"),
            identity_token: Some(Secret::new("refresh-me")),
            registry_token: Some(Secret::new("bearer-me")),
            helper: None,
            server_address: "ghcr.io".into(),
        };
        let shown = format!("{credential:?}");
        assert!(shown.contains("ci") && shown.contains("[redacted]"), "{shown}");
        assert!(credential.secrets().all(|secret| !shown.contains(secret)), "{shown}");
    }
}
