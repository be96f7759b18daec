//! Reads `WWW-Authenticate`: which ways to authenticate a server offers.
//!
//! Grammar: RFC 9110, 11.2 to 11.6. Registries break it in many small ways, so this reads what it can and never fails:
//! what makes no sense is left out.

/// The most challenges that are read from one answer, and the most parameters of each.
const MOST: usize = 32;

/// One way to authenticate, such as `Bearer realm="https://ghcr.io/token",service="ghcr.io"`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Challenge {
    /// In lower case: `basic`, `bearer`, …
    pub scheme: String,
    /// Names in lower case, values without quotes and escapes, in the order given.
    pub params: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of this name (lower case).
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Reads one header's value, which may hold several challenges.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut cursor = Cursor { rest: header };
    loop {
        cursor.skip(|c| c.is_ascii_whitespace() || c == ',');
        if cursor.rest.is_empty() {
            return challenges;
        }
        let word = cursor.take(is_token);
        if word.is_empty() {
            // neither a name nor a separator: leave it out up to the next comma
            cursor.skip(|c| c != ',');
            continue;
        }
        cursor.skip(|c| c.is_ascii_whitespace());
        if cursor.eat('=') {
            let value = cursor.value();
            if let Some(challenge) = challenges.last_mut()
                && challenge.params.len() < MOST
                && let Some(value) = value
            {
                challenge.params.push((word.to_ascii_lowercase(), value));
            }
        } else if challenges.len() < MOST {
            challenges.push(Challenge { scheme: word.to_ascii_lowercase(), params: Vec::new() });
        } else {
            return challenges;
        }
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, accept: impl Fn(char) -> bool) {
        self.take(accept);
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A quoted string or a bare word; none for the padding of a `token68`.
    fn value(&mut self) -> Option<String> {
        self.skip(|c| c.is_ascii_whitespace());
        if !self.eat('"') {
            // registries leave quotes off addresses too, so all that cannot end a value belongs to it
            let bare = self.take(|c| c != ',' && c != '"' && !c.is_ascii_whitespace());
            return (!bare.trim_matches('=').is_empty()).then(|| bare.to_owned());
        }
        let mut value = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
                _ => value.push(c),
            }
        }
        // a quote that is never closed ends with the header
        self.rest = "";
        Some(value)
    }
}

/// `tchar` of RFC 9110, 5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_registries_send_is_read() {
        let ghcr = parse(r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull""#);
        assert_eq!(ghcr.len(), 1);
        assert_eq!(ghcr[0].scheme, "bearer");
        assert_eq!(ghcr[0].param("realm"), Some("https://ghcr.io/token"));
        assert_eq!(ghcr[0].param("scope"), Some("repository:a/b:pull"));
        assert_eq!(ghcr[0].param("error"), None);
    }

    #[test]
    fn several_challenges_in_one_header_are_told_apart() {
        let both =
            parse(r#"Negotiate, Basic realm="a, b=\"c\" \\", BEARER Realm = "https://x/t?a=b,c" , service=plain"#);
        let schemes: Vec<_> = both.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(both[1].param("realm"), Some(r#"a, b="c" \"#));
        assert_eq!(both[2].param("realm"), Some("https://x/t?a=b,c"));
        assert_eq!(both[2].param("service"), Some("plain"));
    }

    #[test]
    fn broken_headers_give_what_can_be_read() {
        assert_eq!(parse(""), []);
        assert_eq!(parse(",,;;=\"\""), []);
        assert_eq!(parse(r#"realm="x""#), []);
        assert_eq!(parse(r#"Bearer realm=https://x/t?a=b,service=s"#)[0].param("realm"), Some("https://x/t?a=b"));
        assert_eq!(parse(r#"Bearer realm="open"#)[0].param("realm"), Some("open"));
        assert_eq!(parse("Negotiate YWJj==, Basic realm=r").last().map(|c| c.scheme.clone()), Some("basic".into()));
    }

    #[test]
    fn a_flood_of_challenges_is_cut() {
        assert_eq!(parse(&"Basic,".repeat(10_000)).len(), MOST);
        assert_eq!(parse(&format!("Basic {}", "a=b,".repeat(10_000)))[0].params.len(), MOST);
    }

    fn shown(challenges: &[Challenge]) -> String {
        let quoted = |value: &str| value.replace('\\', r"\\").replace('"', r#"\""#);
        let one = |c: &Challenge| {
            let params: Vec<_> = c.params.iter().map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect();
            format!("{} {}", c.scheme, params.join(","))
        };
        challenges.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn challenge() -> impl Strategy<Value = Challenge> {
        ("[a-z][a-z0-9]{0,8}", prop::collection::vec(("[a-z_]{1,8}", "[ -~]{0,20}"), 0..5))
            .prop_map(|(scheme, params)| Challenge { scheme, params })
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let read = parse(&text);
            prop_assert!(read.len() <= MOST && read.iter().all(|c| !c.scheme.is_empty()));
        }

        #[test]
        fn what_is_written_by_the_book_is_read_as_it_was(challenges in prop::collection::vec(challenge(), 0..5)) {
            prop_assert_eq!(parse(&shown(&challenges)), challenges);
        }
    }
}
