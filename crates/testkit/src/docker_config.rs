//! Docker's `config.json` with credentials, as `docker login` writes it.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::error::{Doing, Result};

/// A `config.json` under construction.
#[derive(Clone, Default)]
pub struct DockerConfig {
    auths: Map<String, Value>,
    more: Map<String, Value>,
}

impl DockerConfig {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a user and password for a registry (`127.0.0.1:5000`).
    pub fn auth(mut self, registry: &str, user: &str, password: &str) -> Self {
        self.auths.insert(registry.into(), json!({"auth": STANDARD.encode(format!("{user}:{password}"))}));
        self
    }

    /// With another key at the top level, such as `credHelpers`.
    pub fn key(mut self, key: &str, value: Value) -> Self {
        self.more.insert(key.into(), value);
        self
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let mut all = self.more.clone();
        all.insert("auths".into(), self.auths.clone().into());
        Value::from(all).to_string()
    }

    /// Writes it, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<()> {
        let doing = || format!("writing {}", path.display());
        fs::write(path, self.to_json()).doing(doing)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).doing(doing)
    }
}

impl fmt::Debug for DockerConfig {
    /// The registries, without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.auths.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_docker_login_writes_it() {
        let config = DockerConfig::new().auth("127.0.0.1:1", "ann", "secret").key("credsStore", json!("none"));
        let read: Value = serde_json::from_str(&config.to_json()).unwrap();
        assert_eq!(read["auths"]["127.0.0.1:1"]["auth"], "YW5uOnNlY3JldA==");
        assert_eq!(read["credsStore"], "none");
        assert_eq!(format!("{config:?}"), "{\"127.0.0.1:1\"}");
    }
}
