//! What the process's environment says: read once, so that everything else is a pure function.

use std::path::PathBuf;

/// The variables that the configuration looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    /// `DOCKER_HOST`, unless empty.
    pub docker_host: Option<String>,
    /// `CREDENTIALS_DIRECTORY`, as systemd sets it (`systemd.exec(5)`, Credentials).
    pub credentials: Option<PathBuf>,
}

impl Environment {
    /// This process's own.
    pub fn of_process() -> Self {
        Self {
            docker_host: std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from),
        }
    }
}
