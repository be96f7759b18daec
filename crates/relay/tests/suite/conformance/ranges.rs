//! "Pulling blobs": "A registry SHOULD support the `Range` request header in accordance with RFC 9110", whose sections the
//! tests are named after.

use std::ops::Range;

use layerkeeper_testkit::http::Response;

use super::{blob, opened};
use crate::{Ground, Open};

/// A relay, and its layer, which it has given whole.
struct Layer {
    _ground: Ground,
    open: Open,
    path: String,
    whole: Vec<u8>,
}

impl Layer {
    async fn new() -> Self {
        let (ground, open) = opened().await;
        let path = blob(open.pushed.layers[0].blob);
        let whole = open.ask("GET", &path, &[]).await.body;
        assert_eq!(whole.len() as u64, open.pushed.layers[0].size.0);
        Self { _ground: ground, open, path, whole }
    }

    fn size(&self) -> usize {
        self.whole.len()
    }

    async fn ask(&self, method: &'static str, range: &str) -> Response {
        self.open.ask(method, &self.path, &[("Range", range)]).await
    }

    /// This header is answered with these bytes, and with what says which they are.
    async fn gives(&self, header: &str, range: Range<usize>) {
        let part = self.ask("GET", header).await;
        assert_eq!((part.status, part.body == self.whole[range.clone()]), (206, true), "{header}");
        let shown = format!("bytes {}-{}/{}", range.start, range.end - 1, self.size());
        assert_eq!(part.header("content-range"), Some(shown.as_str()), "{header}");
    }

    /// This header is answered as if it were not there.
    async fn ignores(&self, header: &str) {
        let got = self.ask("GET", header).await;
        assert_eq!((got.status, got.body == self.whole), (200, true), "{header}");
        assert_eq!(got.header("content-range"), None, "{header}");
    }
}

/// 14.1.2: "the byte positions specified are inclusive. Byte offsets start at zero."
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_1_2_the_first_and_the_last_byte_are_included_and_the_first_is_zero() {
    let layer = Layer::new().await;
    layer.gives("bytes=0-0", 0..1).await;
    layer.gives("bytes=0-99", 0..100).await;
    // over a block of the spool's
    layer.gives("bytes=1000000-2999999", 1_000_000..3_000_000).await;
    let size = layer.size();
    layer.gives(&format!("bytes={0}-{0}", size - 1), size - 1..size).await;
}

/// 14.1.2: "If the last-pos value is absent, or if the value is greater than or equal to the current length of the
/// representation data, the byte range is interpreted as the remainder of the representation".
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_1_2_without_a_last_byte_or_with_one_beyond_the_end_it_is_the_remainder() {
    let layer = Layer::new().await;
    let size = layer.size();
    layer.gives("bytes=1000000-", 1_000_000..size).await;
    layer.gives(&format!("bytes=5-{size}"), 5..size).await;
    layer.gives(&format!("bytes=5-{}", size * 2), 5..size).await;
}

/// 14.1.2: "A client can refer to the last N bytes of the selected representation using a suffix-range."
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_1_2_a_suffix_is_the_last_bytes() {
    let layer = Layer::new().await;
    layer.gives("bytes=-7", layer.size() - 7..layer.size()).await;
}

/// 14.1.2: "If the selected representation is shorter than the specified suffix-length, the entire representation is used."
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_1_2_a_suffix_that_is_longer_than_the_blob_is_all_of_it() {
    let layer = Layer::new().await;
    let got = layer.ask("GET", &format!("bytes=-{}", layer.size() + 1)).await;
    assert!(matches!(got.status, 200 | 206) && got.body == layer.whole, "{}", got.status);
}

/// 14.2: "A server MUST ignore a Range header field received with a request method that is unrecognized or for which range
/// handling is not defined. For this specification, GET is the only method for which range handling is defined."
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_2_a_range_must_be_ignored_in_a_head() {
    let layer = Layer::new().await;
    for range in ["bytes=0-99".to_owned(), format!("bytes={}-", layer.size())] {
        let head = layer.ask("HEAD", &range).await;
        assert_eq!((head.status, head.head.content_length()), (200, Some(layer.size() as u64)), "{range}");
    }
}

/// 13.1.5: "if the field value matches the validator exactly, the Range header field is processed as requested; otherwise …
/// it is ignored", and no answer has a validator that it could match.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_13_1_5_a_range_is_ignored_where_if_range_cannot_match() {
    let layer = Layer::new().await;
    let got = layer.open.ask("GET", &layer.path, &[("Range", "bytes=0-9"), ("If-Range", "\"a\"")]).await;
    assert_eq!((got.status, got.body == layer.whole), (200, true));
}

/// 14.2: "An origin server MUST ignore a Range header field that contains a range unit it does not understand."
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_2_a_unit_that_is_not_understood_must_be_ignored() {
    Layer::new().await.ignores("lines=0-9").await;
}

/// 14.2: "A server that supports range requests MAY ignore or reject a Range header field that contains an invalid
/// ranges-specifier".
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_2_what_is_invalid_is_ignored() {
    let layer = Layer::new().await;
    for invalid in ["bytes=9-5", "bytes=a-b", "bytes=-", "bytes", "0-9"] {
        layer.ignores(invalid).await;
    }
}

/// 14.2: "A server MAY ignore the Range header field": several ranges at once are.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_2_several_at_once_are_ignored() {
    Layer::new().await.ignores("bytes=0-1,5-6").await;
}

/// 14.3: "A server that supports byte-range requests for a given target resource MAY send `Accept-Ranges: bytes` to indicate
/// that it supports byte range requests for that target resource".
#[tokio::test(flavor = "multi_thread")]
async fn ranges_14_3_an_answer_says_that_ranges_are_accepted() {
    let layer = Layer::new().await;
    for method in ["GET", "HEAD"] {
        let answer = layer.open.ask(method, &layer.path, &[]).await;
        assert_eq!(answer.header("accept-ranges"), Some("bytes"), "{method}");
    }
}

/// 15.3.7.1: "the server generating the 206 response MUST generate a Content-Range header field […] and a content consisting
/// of the range": no more of it, so its length is the range's.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_15_3_7_a_part_is_as_long_as_its_range_and_names_the_digest_of_the_whole() {
    let layer = Layer::new().await;
    let part = layer.ask("GET", "bytes=100-299").await;
    assert_eq!((part.status, part.head.content_length()), (206, Some(200)));
    let digest = layer.open.pushed.layers[0].blob.to_string();
    assert_eq!(part.header("docker-content-digest"), Some(digest.as_str()));
}

/// 15.5.17: "A server that generates a 416 response to a byte-range request SHOULD generate a Content-Range header field
/// specifying the current length of the selected representation". 14.1.2 says what is unsatisfiable.
#[tokio::test(flavor = "multi_thread")]
async fn ranges_15_5_17_a_range_beyond_the_end_is_416_with_the_length() {
    let layer = Layer::new().await;
    let size = layer.size();
    for beyond in [format!("bytes={size}-"), format!("bytes={size}-{}", size + 9), "bytes=-0".to_owned()] {
        let refused = layer.ask("GET", &beyond).await;
        assert_eq!((refused.status, refused.body.len()), (416, 0), "{beyond}");
        assert_eq!(refused.header("content-range"), Some(format!("bytes */{size}").as_str()), "{beyond}");
    }
}
