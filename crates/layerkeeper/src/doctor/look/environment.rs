//! What the daemon's unit has from a file, and whoever runs the doctor has not: the way to registries and to the engine.

use super::files::{Files, Root};
use crate::doctor::cleaners::unit_file::UnitFile;

/// `EnvironmentFile=` of the shipped unit.
const FILE: &str = "/etc/default/layerkeeper";
const NAMES: [&str; 11] = [
    "DOCKER_HOST",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// The variables that the file sets and that `has` does not know, in either case.
pub fn missing(root: &Root, has: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let text = Files::new(root).text(FILE).unwrap_or_default();
    let mut file = UnitFile::default();
    file.read(&text, FILE);
    let is_new = |name: &&&str| !has(&name.to_ascii_uppercase()) && !has(&name.to_ascii_lowercase());
    let value = |name: &&'static str| Some((*name, bare(file.last(name)?).to_owned()));
    NAMES.iter().filter(is_new).filter_map(value).collect()
}

/// Without the quotes around it.
fn bare(value: &str) -> &str {
    let within = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_already_stays_and_the_rest_is_as_the_daemon_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert_eq!(missing(&root, |_| false), []);
        std::fs::create_dir_all(root.at("/etc/default")).unwrap();
        let text = "# HTTP_PROXY=http://no\nHTTPS_PROXY=\"http://proxy:3128\"\nNO_PROXY=.acme.net,10.0.0.0/8\n\
                    DOCKER_HOST='unix:///srv/docker.sock'\nRUST_LOG=debug\nALL_PROXY=\n";
        std::fs::write(root.at(FILE), text).unwrap();
        let wanted = [
            ("DOCKER_HOST", "unix:///srv/docker.sock".to_owned()),
            ("HTTPS_PROXY", "http://proxy:3128".to_owned()),
            ("NO_PROXY", ".acme.net,10.0.0.0/8".to_owned()),
        ];
        assert_eq!(missing(&root, |_| false), wanted);
        assert_eq!(missing(&root, |name| matches!(name, "https_proxy" | "NO_PROXY")), wanted[..1]);
    }
}
