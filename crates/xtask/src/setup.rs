//! Installs what tests, demo, benchmark and fuzzing need on a Debian 12 machine, and starts none of it.
//!
//! Only what is missing is installed, nothing is removed or upgraded, and a second run does nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use layerkeeper_testkit::tree;

const POLICY: &str = "/usr/sbin/policy-rc.d";
const DENY: &str = "#!/bin/sh\n# Written by `cargo xtask setup` while it installs packages; it removes this file afterwards.\nexit 101\n";

/// What a task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Engine A: Debian 12's Docker Engine, and its client.
    Engine,
    /// Engines B and C: a Debian 13 tree with its Docker Engine.
    LaterEngines,
    /// A registry, and `htpasswd` for its users.
    Registry,
    /// nginx, in front of a registry.
    Nginx,
    /// Network namespaces and queues: `ip` and `tc`.
    Network,
    /// A Debian tree that boots systemd in `systemd-nspawn`.
    Systemd,
    /// Prometheus and `promtool`.
    Prometheus,
    /// Chromium and a font, to look at the page.
    Browser,
    /// What the step in CI uses: curl and openssl; and shellcheck, which judges the scripts.
    Ci,
    /// libfaketime, for a daemon on a wall clock of its own.
    Clock,
    /// adnanh/webhook, to compare with.
    Bench,
    /// A C++ compiler, for libFuzzer; no test needs it.
    Cpp,
}

/// All that tests, demo and benchmark need.
pub const ALL: &[Part] = &[
    Part::Engine,
    Part::LaterEngines,
    Part::Registry,
    Part::Nginx,
    Part::Network,
    Part::Systemd,
    Part::Prometheus,
    Part::Browser,
    Part::Ci,
    Part::Clock,
    Part::Bench,
];

impl Part {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Engine => &["docker.io", "iptables", "mount", "e2fsprogs"],
            Self::LaterEngines => &["debootstrap"],
            Self::Registry => &["docker-registry", "apache2-utils", "openssl"],
            Self::Nginx => &["nginx-light"],
            Self::Network => &["iproute2"],
            Self::Systemd => &["systemd-container", "debootstrap"],
            Self::Prometheus => &["prometheus"],
            Self::Browser => &["chromium", "fonts-dejavu-core"],
            Self::Ci => &["curl", "openssl", "ca-certificates", "shellcheck"],
            Self::Clock => &["libfaketime"],
            Self::Bench => &["webhook"],
            Self::Cpp => &["g++"],
        }
    }
}

/// Makes sure that these parts are on this machine.
///
/// # Errors
/// Where this is not Debian 12, we are not root, Docker's own packages stand in the way, or a package or tree cannot be
/// had; what was installed until then stays.
pub fn ensure(parts: &[Part]) -> Result<()> {
    ensure!(is_root()?, "this installs packages and makes mounts: run it as root");
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    ensure!(
        is_debian_12(&release),
        "the real parts are Debian 12's, and this machine has another release; use a Debian 12 machine, container or tree"
    );
    let mut wanted: Vec<&str> = parts.iter().flat_map(|part| part.packages()).copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut missing = Vec::new();
    for package in wanted {
        if !is_installed(package)? {
            missing.push(package);
        }
    }
    if !missing.is_empty() {
        install(&missing)?;
    }
    if parts.contains(&Part::LaterEngines) {
        tree::trixie().context("making the Debian 13 tree")?;
    }
    if parts.contains(&Part::Systemd) {
        tree::booting().context("making the tree that boots")?;
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    for foreign in ["docker-ce", "containerd.io", "moby-engine"] {
        if packages.contains(&"docker.io") && is_installed(foreign)? {
            bail!("{foreign} is installed here and would have to go for Debian's docker.io; use another machine");
        }
    }
    eprintln!("setup: installing {}", packages.join(" "));
    let _denied = Denied::services()?;
    retried("apt-get update", || apt(&["update", "--quiet=2"], &[]))?;
    // --no-remove: rather fail than take something away from this machine
    let arguments = ["install", "--yes", "--quiet=2", "--no-install-recommends", "--no-remove"];
    retried("apt-get install", || apt(&arguments, packages))?;
    leave_disabled(packages)
}

fn apt(arguments: &[&str], packages: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3"])
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("running apt-get")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, text.trim());
    Ok(())
}

/// Mirrors have bad moments.
fn retried(what: &str, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    for pause in [1, 5] {
        let Err(error) = attempt() else { return Ok(()) };
        eprintln!("setup: {what} failed, trying again in {pause} s: {error:#}");
        std::thread::sleep(Duration::from_secs(pause));
    }
    attempt().with_context(|| what.to_owned())
}

/// While this lives, packages do not start their services when they are installed (Debian Policy 9.3.3).
struct Denied {
    ours: bool,
}

impl Denied {
    fn services() -> Result<Self> {
        let ours = match fs::read_to_string(POLICY) {
            Err(_) => true,
            // left by a run that was killed
            Ok(text) => text == DENY,
        };
        if ours {
            fs::write(POLICY, DENY).and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
        } else {
            Ok(())
        }
        .with_context(|| format!("writing {POLICY}"))?;
        Ok(Self { ours })
    }
}

impl Drop for Denied {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// What we installed is to run for tests only, so it does not start with the machine either.
fn leave_disabled(packages: &[&str]) -> Result<()> {
    if !Path::new("/usr/bin/systemctl").exists() {
        return Ok(());
    }
    for package in packages {
        let units: &[&str] = match *package {
            "docker.io" => &["docker.service", "docker.socket", "containerd.service"],
            "docker-registry" => &["docker-registry.service"],
            "nginx-light" => &["nginx.service"],
            "prometheus" => &["prometheus.service"],
            "webhook" => &["webhook.service"],
            _ => continue,
        };
        let status = Command::new("systemctl").args(["--root=/", "--quiet", "disable"]).args(units).status();
        if !status.context("running systemctl")?.success() {
            eprintln!("setup: could not disable {}", units.join(" "));
        }
    }
    Ok(())
}

fn is_installed(package: &str) -> Result<bool> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .context("running dpkg-query: is this Debian?")?;
    Ok(output.stdout == b"installed")
}

fn is_root() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    Ok(effective == Some("0"))
}

fn is_debian_12(os_release: &str) -> bool {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches('"'))
    };
    value("ID") == Some("debian") && value("VERSION_ID") == Some("12")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_12_is_debian_12() {
        assert!(is_debian_12("PRETTY_NAME=\"x\"\nVERSION_ID=\"12\"\nID=debian\n"));
        assert!(!is_debian_12("VERSION_ID=\"13\"\nID=debian\n"));
        assert!(!is_debian_12("VERSION_ID=\"12\"\nID=ubuntu\n"));
        assert!(!is_debian_12("ID=debian\nVERSION_CODENAME=sid\n"));
    }

    #[test]
    fn what_dpkg_has_is_installed() {
        assert!(is_installed("dpkg").unwrap());
        assert!(!is_installed("layerkeeper-no-such-package").unwrap());
    }
}
