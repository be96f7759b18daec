//! The registry's access log (combined format), which is the judge of what really moved.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use layerkeeper_core::{Bytes, Digest};

/// The User-Agent of our own requests.
pub(super) const TESTKIT: &str = "layerkeeper-testkit";

/// A place in the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// A completed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `GET`
    pub method: String,
    /// Path and query.
    pub path: String,
    /// HTTP status.
    pub status: u16,
    /// Length of the body as written to the connection: of a cut answer, what was written until then.
    pub bytes: Bytes,
    /// Who asked.
    pub user_agent: String,
}

/// Who asked, by its User-Agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Agent {
    /// Docker Engine: `docker/…`.
    Engine,
    /// The testkit itself.
    Testkit,
    /// layerkeeper: `layerkeeper/…`.
    Layerkeeper,
    /// Anybody else.
    Other,
}

impl Access {
    /// The blob that this path names, if it names one.
    pub fn blob(&self) -> Option<Digest> {
        let (_, digest) = self.path.split('?').next()?.rsplit_once("/blobs/")?;
        digest.parse().ok()
    }

    /// Who asked.
    pub fn agent(&self) -> Agent {
        match self.user_agent.as_str() {
            TESTKIT => Agent::Testkit,
            agent if agent.starts_with("docker/") => Agent::Engine,
            agent if agent.starts_with("layerkeeper/") => Agent::Layerkeeper,
            _ => Agent::Other,
        }
    }

    /// All of what a registry wrote to its standard output.
    pub fn all(log: &str) -> Vec<Self> {
        log.lines().filter_map(Self::parse).collect()
    }

    /// Reads `host - user [time] "METHOD path PROTOCOL" status bytes "referer" "user agent"`.
    fn parse(line: &str) -> Option<Self> {
        let mut quoted = line.split('"');
        let _host_and_time = quoted.next()?;
        let mut request = quoted.next()?.split(' ');
        let mut numbers = quoted.next()?.split_whitespace();
        let _referer = (quoted.next()?, quoted.next()?);
        Some(Self {
            method: request.next()?.to_owned(),
            path: request.next()?.to_owned(),
            status: numbers.next()?.parse().ok()?,
            bytes: Bytes(numbers.next()?.parse().ok()?),
            user_agent: quoted.next()?.to_owned(),
        })
    }
}

impl Mark {
    pub(super) fn end_of(log: &Path) -> Self {
        settle(log);
        Self(size(log))
    }
}

/// Waits until the log has been quiet for a while, for at most five seconds.
pub(super) fn settle(log: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let (mut last, mut since) = (size(log), Instant::now());
    while since.elapsed() < Duration::from_millis(200) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        let now = size(log);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
}

pub(super) fn read(log: &Path, since: Mark) -> Vec<Access> {
    let text = fs::read(log).unwrap_or_default();
    let new = text.get(since.0 as usize..).unwrap_or_default();
    Access::all(&String::from_utf8_lossy(new))
}

fn size(log: &Path) -> u64 {
    fs::metadata(log).map(|metadata| metadata.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_read() {
        let digest = Digest::of(b"x");
        let line = format!(
            "127.0.0.1 - - [24/Nov/2026:01:47:05 +0000] \"GET /v2/acme/app/blobs/{digest} HTTP/1.1\" 206 1234 \"\" \
             \"docker/20.10.24+dfsg1 go/go1.19.8 UpstreamClient(Docker-Client/28.2.2 \\\\(linux\\\\))\""
        );
        let access = Access::parse(&line).unwrap();
        assert_eq!((access.method.as_str(), access.status, access.bytes), ("GET", 206, Bytes(1234)));
        assert_eq!(access.blob(), Some(digest));
        assert_eq!(access.agent(), Agent::Engine);
        assert_eq!(Access::parse("time=\"…\" level=info"), None);
    }
}
