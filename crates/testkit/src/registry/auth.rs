//! How a registry authenticates those who ask.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Doing, Error, Result};
use crate::token::TokenServer;

/// How a registry authenticates.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    Open,
    /// Basic authentication for everything.
    Htpasswd {
        /// Who may do everything.
        user: String,
        /// With which password.
        password: String,
    },
    /// Bearer tokens from a [`TokenServer`] of its own: anybody may pull what the server holds public, and the
    /// server's user may do everything.
    Token,
}

impl Auth {
    pub(super) fn token_server(&self) -> Result<Option<TokenServer>> {
        matches!(self, Self::Token).then(TokenServer::start).transpose()
    }

    /// The section of the registry's configuration; writes the files that it names.
    pub(super) fn configure(&self, dir: &Path, tokens: Option<&TokenServer>) -> Result<String> {
        match (self, tokens) {
            (Self::Htpasswd { user, password }, _) => {
                let path = dir.join("htpasswd");
                // distribution takes bcrypt only
                let output = Command::new("htpasswd")
                    .args(["-B", "-C", "4", "-b", "-n", user, password])
                    .output()
                    .doing(|| "running htpasswd (`cargo xtask setup` installs it)".into())?;
                if !output.status.success() {
                    return Err(Error::failed("htpasswd", String::from_utf8_lossy(&output.stderr)));
                }
                fs::write(&path, output.stdout).doing(|| format!("writing {}", path.display()))?;
                Ok(format!("auth:\n  htpasswd: {{realm: testkit, path: {}}}\n", path.display()))
            }
            (Self::Token, Some(tokens)) => {
                let path = dir.join("tokens.pem");
                fs::write(&path, tokens.certificate()).doing(|| format!("writing {}", path.display()))?;
                let (realm, service, issuer) = (tokens.realm(), TokenServer::SERVICE, TokenServer::ISSUER);
                let path = path.display();
                Ok(format!(
                    "auth:\n  token: {{realm: \"{realm}\", service: {service}, issuer: {issuer}, rootcertbundle: {path}}}\n"
                ))
            }
            _ => Ok(String::new()),
        }
    }

    /// An Authorization header that may do everything in this repository.
    pub(super) fn header(&self, tokens: Option<&TokenServer>, repository: &str) -> Option<String> {
        match (self, tokens) {
            (Self::Htpasswd { user, password }, _) => Some(basic(user, password)),
            (Self::Token, Some(tokens)) => Some(format!("Bearer {}", tokens.full_access(repository))),
            _ => None,
        }
    }
}

/// The header of basic authentication.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

impl fmt::Debug for Auth {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Htpasswd { user, .. } => write!(f, "Htpasswd({user})"),
            Self::Token => f.write_str("Token"),
        }
    }
}
