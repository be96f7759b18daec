//! The head of an HTTP/1.1 message: the first line and the headers.

/// A parsed head. Header names compare without regard to case, as RFC 9110 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    first: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Parses everything up to and including the empty line; `None` where that is no head.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let first = lines.next().filter(|line| line.contains(' '))?.to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        });
        Some(Self { first, headers: headers.collect::<Option<_>>()? })
    }

    /// The status, in a response.
    pub fn status(&self) -> Option<u16> {
        self.first.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
    }

    /// The method, in a request.
    pub fn method(&self) -> &str {
        self.first.split(' ').next().unwrap_or_default()
    }

    /// Path and query, in a request.
    pub fn path(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// A header's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How long the body is, where the head says so.
    pub fn content_length(&self) -> Option<u64> {
        self.get("content-length")?.parse().ok()
    }

    /// Does the body come in chunks?
    pub fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"))
    }

    /// Will the sender close the connection after this message?
    pub fn closes(&self) -> bool {
        self.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            || self.first.contains("HTTP/1.0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_requests_and_responses_are_read() {
        let request = Head::parse(b"GET /v2/a?x=1 HTTP/1.1\r\nHost: a:1\r\nrange: bytes=5-\r\n\r\n").unwrap();
        assert_eq!((request.method(), request.path()), ("GET", "/v2/a?x=1"));
        assert_eq!(request.get("Range"), Some("bytes=5-"));
        let response = Head::parse(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 7\r\n\r\n").unwrap();
        assert_eq!((response.status(), response.content_length()), (Some(206), Some(7)));
        assert_eq!(Head::parse(b"\x16\x03\x01\r\n\r\n"), None, "a TLS ClientHello is no head");
        assert_eq!(Head::parse(b"GET / HTTP/1.1\r\nno colon\r\n\r\n"), None);
    }
}
