//! Requests over HTTP: which scheme, which trust, which proxy, and redirects that we follow by ourselves.

mod body;
mod clients;

use std::time::SystemTime;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::error::Error;
use crate::retry_after;
use crate::secret::Secret;
use crate::settings::Settings;

pub(crate) use body::{read, read_refusal};
use clients::{Clients, names};

const MOST_REDIRECTS: usize = 5;

/// Sends requests, and knows how each host wants to be spoken to.
#[derive(Debug)]
pub(crate) struct Transport {
    clients: Clients,
}

/// A request.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: &'static str,
    /// The whole header value; sent to the first origin only.
    pub(crate) authorization: Option<Secret>,
    /// A form to post.
    pub(crate) form: Option<Secret>,
    /// A part of a blob, which may take its time.
    pub(crate) part: Option<Part>,
}

/// Which bytes of a blob are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them.
    Whole,
    /// From the first to the last, both counted (RFC 9110, 14.1.2).
    Range(u64, u64),
}

/// What came back, the body unread.
pub(crate) struct Answer {
    pub(crate) response: reqwest::Response,
    /// Did it come from the host that was asked, and not from one that it redirected to?
    pub(crate) same_origin: bool,
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { clients: Clients::new(settings) }
    }

    /// The address under which a registry's API lives, such as `https://ghcr.io/v2/`.
    pub(crate) fn endpoint(&self, registry: &str) -> Result<Url, Error> {
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let scheme = if self.clients.speaks_plain(&[host.to_owned()]) { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{host}/v2/"))
            .map_err(|e| Error::malformed(format!("{registry} is not a host that can be asked: {e}")))
    }

    /// Sends a request on behalf of `registry` and follows redirects. `Authorization` never reaches another origin, and
    /// no redirect leads from HTTPS to plain HTTP.
    pub(crate) async fn send(&self, registry: &str, ask: Ask) -> Result<Answer, Error> {
        let origin = ask.url.origin();
        let mut url = ask.url.clone();
        let mut same_origin = true;
        for _ in 0..=MOST_REDIRECTS {
            let pieces = ask.part.is_some();
            let response = match self.request(registry, &ask, &url, same_origin)?.send().await {
                Err(error) if self.clients.learn(&url, pieces, &error) => {
                    self.request(registry, &ask, &url, same_origin)?.send().await
                }
                sent => sent,
            };
            let response = response.map_err(|e| unreachable(registry, &url, e))?;
            // a posted form holds a secret and goes nowhere else
            if !is_redirect(response.status()) || ask.form.is_some() {
                return Ok(Answer { response, same_origin });
            }
            let next = redirected(registry, &url, response.headers().get(LOCATION))?;
            // once away, an address back is no reason to trust the road
            same_origin = same_origin && next.origin() == origin;
            read_refusal(response).await;
            url = next;
        }
        Err(Error::malformed(format!("{registry} redirects more than {MOST_REDIRECTS} times")))
    }

    /// What is asked of one address on the way, with `Authorization` where it may have it.
    fn request(
        &self,
        registry: &str,
        ask: &Ask,
        url: &Url,
        may_authorize: bool,
    ) -> Result<reqwest::RequestBuilder, Error> {
        let client = self.clients.of(registry, url, ask.part.is_some())?;
        let mut request = client.request(ask.method.clone(), url.clone()).header(ACCEPT, ask.accept);
        if let Some(Part::Range(first, last)) = ask.part {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        if let Some(authorization) = ask.authorization.as_ref().filter(|_| may_authorize) {
            let mut value = HeaderValue::from_str(authorization.expose())
                .map_err(|_| Error::malformed(format!("the token for {registry} cannot be sent in a header")))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(form) = &ask.form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.expose().to_owned());
        }
        Ok(request)
    }

    /// May a token be fetched here on behalf of a registry? Over plain HTTP only from hosts that speak nothing else, and
    /// only for a registry that speaks it itself: the password would lose the protection that it had.
    pub(crate) fn may_ask_for_token(&self, registry: &str, url: &Url) -> bool {
        let own = |scheme: &str| self.endpoint(registry).is_ok_and(|own| own.scheme() == scheme);
        match url.scheme() {
            "https" => true,
            "http" => own("http") && self.clients.speaks_plain(&names(registry, url)),
            _ => false,
        }
    }
}

/// What a refusal asks us to wait.
pub(crate) fn wait(response: &reqwest::Response) -> Option<std::time::Duration> {
    retry_after::parse(response.headers().get(RETRY_AFTER)?.as_bytes(), SystemTime::now())
}

/// No answer at all, in words without addresses.
pub(crate) fn unreachable(registry: &str, url: &Url, error: reqwest::Error) -> Error {
    let mut cause = if error.is_timeout() { "no answer in time".to_owned() } else { words(&error.without_url()) };
    let asked = host(url);
    if asked != registry {
        cause = format!("{asked}: {cause}");
    }
    Error::Unreachable { registry: registry.to_owned(), cause: crate::error::printable(&cause, 300) }
}

/// The chain of causes, without the outer ones that only say that something failed.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
    let mut words: Vec<String> = Vec::new();
    for cause in causes.filter(|cause| !cause.starts_with("client error (")) {
        // some causes repeat the text of the one below them
        if words.last().is_none_or(|last| !last.contains(&cause)) {
            words.push(cause);
        }
    }
    if words.is_empty() { error.to_string() } else { words.join(": ") }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn redirected(registry: &str, from: &Url, location: Option<&HeaderValue>) -> Result<Url, Error> {
    let bad = |why: &str| Error::malformed(format!("{registry} redirects {why}"));
    let text = location.and_then(|value| value.to_str().ok()).ok_or_else(|| bad("without saying whereto"))?;
    let mut next = from.join(text).map_err(|_| bad("to what is no address"))?;
    match (from.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err(bad("from HTTPS to plain HTTP, which is refused")),
        _ => return Err(bad("to what is neither HTTP nor HTTPS")),
    }
    // a name and password in an address would be sent as credentials
    if next.set_username("").is_err() || next.set_password(None).is_err() {
        return Err(bad("to an address without a host"));
    }
    Ok(next)
}

/// `host` or `host:port`, as a reference would name it.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(from: &str, location: &'static str) -> Result<String, String> {
        let value = HeaderValue::from_static(location);
        redirected("r.io", &Url::parse(from).unwrap(), Some(&value)).map(String::from).map_err(|e| e.to_string())
    }

    #[test]
    fn redirects_lead_only_where_they_may() {
        assert_eq!(follow("https://r.io/v2/x", "/y?z=1"), Ok("https://r.io/y?z=1".to_owned()));
        assert_eq!(follow("http://10.0.0.1:5000/v2/x", "http://s3:9000/y"), Ok("http://s3:9000/y".to_owned()));
        assert_eq!(follow("https://r.io/", "https://user:pass@s3.io/y"), Ok("https://s3.io/y".to_owned()));
        let downgrade = follow("https://r.io/", "http://r.io/y?Signature=secret").unwrap_err();
        assert!(downgrade.contains("from HTTPS to plain HTTP") && !downgrade.contains("secret"), "{downgrade}");
        assert!(follow("https://r.io/", "file:///etc/passwd").is_err());
        assert!(follow("https://r.io/", "https://[bad").is_err());
        assert!(redirected("r.io", &Url::parse("https://r.io").unwrap(), None).is_err());
    }

    #[test]
    fn a_token_is_asked_for_over_plain_http_only_by_registries_that_speak_it() {
        let insecure = vec!["plain.lan:80".into(), "10.0.0.5".into()];
        let transport = Transport::new(Settings { insecure, ..Settings::default() });
        let may = |registry: &str, realm: &str| transport.may_ask_for_token(registry, &Url::parse(realm).unwrap());
        assert!(may("plain.lan:80", "http://plain.lan:80/token") && may("plain.lan:80", "http://10.0.0.5:99/token"));
        assert!(may("127.0.0.1:5000", "http://127.0.0.1:5001/token"));
        assert!(may("ghcr.io", "https://ghcr.io/token") && may("127.0.0.1:5000", "https://auth.lan/token"));
        assert!(!may("ghcr.io", "http://127.0.0.1/token") && !may("ghcr.io", "http://10.0.0.5/token"));
        assert!(!may("plain.lan:80", "http://ghcr.io/token") && !may("ghcr.io", "ftp://ghcr.io/token"));
    }

    #[test]
    fn loopback_and_listed_hosts_speak_plain_and_docker_io_lives_elsewhere() {
        let settings = Settings { insecure: vec!["10.0.0.5:5000".into(), "reg.lan".into()], ..Settings::default() };
        let transport = Transport::new(settings);
        for (registry, wanted) in [
            ("docker.io", "https://registry-1.docker.io/v2/"),
            ("ghcr.io", "https://ghcr.io/v2/"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/"),
            ("127.9.9.9", "http://127.9.9.9/v2/"),
            ("localhost:5000", "http://localhost:5000/v2/"),
            ("[::1]:5000", "http://[::1]:5000/v2/"),
            ("10.0.0.5:5000", "http://10.0.0.5:5000/v2/"),
            ("10.0.0.5", "https://10.0.0.5/v2/"),
            ("reg.lan:81", "http://reg.lan:81/v2/"),
            ("127.0.0.1.example.com", "https://127.0.0.1.example.com/v2/"),
        ] {
            assert_eq!(transport.endpoint(registry).unwrap().as_str(), wanted);
        }
    }
}
