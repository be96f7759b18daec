//! Reads single values: sizes, durations, addresses, paths, names. Each error says what is wrong and what would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use layerkeeper_core::pattern::PatternError;
use layerkeeper_core::versions::{QuarterError, TemplateError};
use layerkeeper_core::{
    Bytes, Digest, DigestError, ImageName, KeptName, Quarter, ReferenceError, Repository, TagPattern,
};

use super::problem::Wrong;

const SIZE: &str = "write a number and a unit, such as \"300 MB\" (10⁶), \"4 GB\" (10⁹) or \"2 GiB\" (2³⁰)";
const DURATION: &str = "write numbers with units out of ms, s, m, h, d and w, such as \"10m\", \"24h\" or \"1h 30m\"";

/// An amount of bytes, with its unit.
pub fn size(text: &str) -> Result<Bytes, Wrong> {
    let wrong = |what: &str| Wrong::new(format!("\"{text}\" {what}"), SIZE);
    if text.trim().bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return Err(wrong("has no unit"));
    }
    text.parse().map_err(|_| wrong("is not a size"))
}

/// A length of time: `90s`, `1h 30m`, `7d`.
pub fn duration(text: &str) -> Result<Duration, Wrong> {
    let wrong = |what: &str| Wrong::new(format!("\"{text}\" {what}"), DURATION);
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong("is not a duration"));
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| wrong("has no unit"))?;
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let number: u64 = number.parse().map_err(|_| wrong("is not a duration"))?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" | "sec" | "second" | "seconds" => 1000,
            "m" | "min" | "minute" | "minutes" => 60_000,
            "h" | "hour" | "hours" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" | "week" | "weeks" => 604_800_000,
            _ => return Err(wrong("is not a duration")),
        };
        // what the store's signed milliseconds cannot hold is no length of time
        let part = number.checked_mul(millis).filter(|ms| *ms <= i64::MAX as u64 / 2);
        total += Duration::from_millis(part.ok_or_else(|| wrong("is too long"))?);
        rest = tail.trim_start();
    }
    Ok(total)
}

/// The same reading, where an empty text means none.
pub fn maybe<T>(read: impl Fn(&str) -> Result<T, Wrong>) -> impl Fn(&str) -> Result<Option<T>, Wrong> {
    move |text| if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}

/// The engine's address.
pub fn engine_host(text: &str) -> Result<String, Wrong> {
    let fits = match text.split_once("://") {
        Some(("unix", path)) => path.starts_with('/') && path.len() > 1,
        Some(("tcp" | "http", authority)) => {
            authority.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        }
        _ => false,
    };
    if fits {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(
        format!("\"{text}\" is no address of an engine that this daemon can talk to"),
        "write unix:///PATH, such as \"unix:///run/docker.sock\", or tcp://HOST:PORT; for an engine behind TLS or ssh, forward its socket",
    ))
}

/// An absolute path.
pub fn path(text: &str) -> Result<PathBuf, Wrong> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Wrong::new(
        format!("\"{text}\" is a relative path"),
        "write it from the root on, such as \"/etc/layerkeeper/…\"; the daemon's working directory is not yours",
    ))
}

/// The path of a Unix socket: absolute, and short enough for `sockaddr_un` (`unix(7)`).
pub fn socket_path(text: &str) -> Result<PathBuf, Wrong> {
    let path = path(text)?;
    if text.len() > 107 {
        return Err(Wrong::new(
            format!("a socket's path has at most 107 bytes, this has {}", text.len()),
            "choose a shorter one",
        ));
    }
    Ok(path)
}

/// An IP address with a port.
pub fn address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(
            format!("\"{text}\" is not an IP address with a port"),
            "write it as \"127.0.0.1:9318\", \"0.0.0.0:9317\" or \"[::1]:9318\"",
        )
    })
}

/// An IP address of this machine only, with a port.
pub fn loopback(text: &str) -> Result<SocketAddr, Wrong> {
    let address = address(text)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(Wrong::new(
        format!("{address} can be reached from other machines, and this listener asks nobody who they are"),
        "write a loopback address such as \"127.0.0.1:9318\"; for a remote Prometheus there is listen.metrics, for a proxy listen.status_hosts",
    ))
}

/// A host as it stands in a Host header, without scheme and path.
pub fn host_name(text: &str) -> Result<String, Wrong> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._:[]".contains(&c);
    if !text.is_empty() && text.bytes().all(fits) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Wrong::new(
        format!("\"{text}\" is not a host name"),
        "write it without scheme and path, such as \"deploy-1.example.net\"",
    ))
}

/// A registry's host as it stands in an image's name.
pub fn registry_host(text: &str) -> Result<String, Wrong> {
    match format!("{text}/x/y").parse::<Repository>() {
        Ok(repository) if repository.registry() == text => Ok(text.to_owned()),
        _ => Err(Wrong::new(
            format!("\"{text}\" is not a registry host"),
            "write it as it stands in image names, such as \"registry.example.net:5000\"",
        )),
    }
}

/// An image with its tag.
pub fn image(text: &str) -> Result<ImageName, Wrong> {
    if let Some((name, digest)) = text.split_once('@') {
        let right = format!("write image = \"{name}\" and digest = \"{digest}\"");
        return Err(Wrong::new("a digest does not belong in the name of a kept image", right));
    }
    text.parse().map_err(|error: ReferenceError| match error {
        ReferenceError::NoTag(_) => Wrong::new(format!("\"{text}\" has no tag"), format!("write \"{text}:TAG\"")),
        other => Wrong::new(other.to_string(), "write REPOSITORY:TAG, such as \"ghcr.io/acme/base:12.1\""),
    })
}

/// A kept image as a block names it; `{arch}` in its tag is this machine's.
pub fn kept(text: &str) -> Result<KeptName, Wrong> {
    let text = of_this_machine(text);
    let Some((from, to)) = text.find('{').zip(text.find('}')).filter(|(from, to)| from < to) else {
        return image(&text).map(KeptName::Image);
    };
    let right =
        "write {quarter} once, or {arch}, and only in the tag, such as \"ghcr.io/acme/app:cache-python-{quarter}\"";
    match &text[from..=to] {
        "{quarter}" => text.parse().map(KeptName::Series).map_err(|error: TemplateError| match error {
            TemplateError::Place => Wrong::new(format!("\"{text}\" has {{quarter}} where it cannot be"), right),
            TemplateError::Reference(error) => Wrong::new(error.to_string(), right),
        }),
        "{arch}" => Err(Wrong::new(format!("\"{text}\" has {{arch}} where it cannot be"), right)),
        other => Err(Wrong::new(format!("there is no placeholder \"{other}\""), right)),
    }
}

/// The same text with the machine's architecture, in OCI's words, where its tag has `{arch}`.
pub fn of_this_machine(text: &str) -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    let tag = text.rfind(':').filter(|at| !text[*at..].contains('/')).unwrap_or(text.len());
    format!("{}{}", &text[..tag], text[tag..].replace("{arch}", arch))
}

/// A quarter.
pub fn quarter(text: &str) -> Result<Quarter, Wrong> {
    text.parse().map_err(|error: QuarterError| {
        Wrong::new(error.to_string(), "write it as it stands in the tag, such as \"2026q3\"")
    })
}

/// A repository, without a tag.
pub fn repository(text: &str) -> Result<Repository, Wrong> {
    let right = "write the repository alone, such as \"ghcr.io/acme/app\"";
    if let Ok(name) = text.parse::<ImageName>() {
        return Err(Wrong::new(format!("\"{text}\" names the tag \"{}\"", name.tag), right));
    }
    text.parse().map_err(|error: ReferenceError| Wrong::new(error.to_string(), right))
}

/// A manifest's digest.
pub fn digest(text: &str) -> Result<Digest, Wrong> {
    text.parse().map_err(|error: DigestError| {
        Wrong::new(error.to_string(), "write sha256: and 64 hexadecimal digits, as `docker pull` prints them")
    })
}

/// A tag pattern.
pub fn pattern(text: &str) -> Result<TagPattern, Wrong> {
    text.parse().map_err(|error: PatternError| {
        Wrong::new(error.to_string(), "write literal characters with * and ?, such as \"sha-*\"")
    })
}

/// A tag pattern that may remove something.
pub fn strict_pattern(text: &str) -> Result<TagPattern, Wrong> {
    pattern(text)?.with_literal_prefix().map_err(|_| {
        Wrong::new(
            format!("the pattern \"{text}\" would match almost every tag"),
            "begin it with at least two literal characters, such as \"sha-*\"",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_numbers_with_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("1d12h"), Ok(Duration::from_secs(129_600)));
        assert_eq!(duration("2 w"), Ok(Duration::from_secs(1_209_600)));
        assert_eq!(duration("2 days"), Ok(Duration::from_secs(172_800)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "5", "h", "5x", "1h 30", "-5m", "1.5h", "99999999999999999999s", "9999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn arch_is_this_machines_in_the_words_of_image_indexes() {
        let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        assert_eq!(of_this_machine("127.0.0.1:5000/a:1-{arch}"), format!("127.0.0.1:5000/a:1-{arch}"));
        assert_eq!(of_this_machine("a/{arch}:1"), "a/{arch}:1", "a repository is the same on all machines");
        assert_eq!(kept("acme/app:1-{arch}").unwrap().to_string(), format!("docker.io/acme/app:1-{arch}"));
        let both = kept("acme/app:{arch}-{quarter}").unwrap().to_string();
        assert_eq!(both, format!("docker.io/acme/app:{arch}-{{quarter}}"));
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("300 MB"), Ok(Bytes(300_000_000)));
        assert!(size("300").unwrap_err().wrong.contains("no unit"));
        assert!(size("3 gigs").is_err());
    }

    #[test]
    fn registry_hosts_are_what_stands_before_the_first_slash() {
        assert!(registry_host("127.0.0.1:5000").is_ok());
        assert!(registry_host("registry.example.net").is_ok());
        assert!(registry_host("http://registry.example.net").is_err());
        assert!(registry_host("acme").is_err(), "a bare word is a path on docker.io");
    }
}
