//! The OCI distribution specification 1.1, "Pull" and "Error Codes", clause by clause. Each test is named after what it holds.

use layerkeeper_core::Digest;
use layerkeeper_testkit::http::Response;

use crate::{Ground, MB};

fn code(response: &Response) -> String {
    let body = response.json().unwrap();
    let error = &body["errors"][0];
    assert!(error["message"].is_string(), "{body}");
    error["code"].as_str().unwrap().to_owned()
}

/// "Determining Support": `GET /v2/` gives 200 to whom may come in, and 401 with a challenge to whom may not.
#[tokio::test(flavor = "multi_thread")]
async fn end_1_determining_support() {
    let ground = Ground::new();
    let open = ground.open(&ground.push(&[MB])).await;
    for path in ["/v2/", "/v2/acme/app/manifests/1", "/v2/acme/app/blobs/sha256:0"] {
        for headers in [vec![], vec![("Authorization".to_owned(), "Basic bGF5ZXJrZWVwZXI6bGF5ZXI=".to_owned())]] {
            let refused = open.ask_as_is("GET", path, headers).await;
            assert_eq!((refused.status, code(&refused).as_str()), (401, "UNAUTHORIZED"), "{path}");
            assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"layerkeeper\""));
        }
    }
    assert!(!open.relay.is_reached(), "whoever that was, it was not the engine");
    assert_eq!(open.ask("GET", "/v2/", &[]).await.status, 200);
    assert!(open.relay.is_reached());
    assert_eq!(ground.proxy.passed(), [], "nobody outside was asked");
}

/// "Pulling manifests": `GET` and `HEAD` by tag and by digest give the origin's bytes, type and digest.
#[tokio::test(flavor = "multi_thread")]
async fn end_3_pulling_manifests() {
    let ground = Ground::new();
    let pushed = ground.push(&[MB]);
    let open = ground.open(&pushed).await;
    let origin = ground.registry.api();
    for reference in ["1".to_owned(), pushed.digest.to_string()] {
        let path = format!("/v2/acme/app/manifests/{reference}");
        let real =
            origin.request("GET", &path).header("Accept", "application/vnd.oci.image.manifest.v1+json").send().unwrap();
        let got = open.ask("GET", &path, &[]).await;
        assert_eq!((got.status, &got.body), (200, &real.body), "{reference}");
        assert_eq!(Digest::of(&got.body), pushed.digest);
        let head = open.ask("HEAD", &path, &[]).await;
        for answer in [&got, &head] {
            assert_eq!(answer.header("docker-content-digest"), Some(pushed.digest.to_string().as_str()));
            assert_eq!(answer.header("content-type"), real.header("content-type"));
            assert_eq!(answer.header("content-length"), Some(real.body.len().to_string().as_str()));
        }
        assert_eq!((head.status, head.body.len()), (200, 0));
    }
}

/// "Pulling manifests": what is not there is 404, in the specification's words.
#[tokio::test(flavor = "multi_thread")]
async fn end_3_a_manifest_that_is_not_there_is_404() {
    let ground = Ground::new();
    let open = ground.open(&ground.push(&[MB])).await;
    let unknown = Digest::of(b"unknown");
    for reference in ["nope".to_owned(), unknown.to_string()] {
        let refused = open.ask("GET", &format!("/v2/acme/app/manifests/{reference}"), &[]).await;
        assert_eq!((refused.status, code(&refused).as_str()), (404, "MANIFEST_UNKNOWN"), "{reference}");
        assert_eq!(open.ask("HEAD", &format!("/v2/acme/app/manifests/{reference}"), &[]).await.status, 404);
    }
    let refused = open.ask("GET", "/v2/acme/app/manifests/sha256:xyz", &[]).await;
    assert_eq!((refused.status, code(&refused).as_str()), (400, "DIGEST_INVALID"));
}

/// "Pulling blobs": `GET` gives the bytes whose digest was asked for, `HEAD` their length alone.
#[tokio::test(flavor = "multi_thread")]
async fn end_2_pulling_blobs() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    let open = ground.open(&pushed).await;
    let layer = &pushed.layers[0];
    let path = format!("/v2/acme/app/blobs/{}", layer.blob);
    let head = open.ask("HEAD", &path, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(open.came().0, 0, "a HEAD fetches nothing");
    let got = open.ask("GET", &path, &[]).await;
    assert_eq!((got.status, Digest::of(&got.body)), (200, layer.blob));
    for answer in [&head, &got] {
        assert_eq!(answer.header("content-length"), Some(layer.size.0.to_string().as_str()));
        assert_eq!(answer.header("docker-content-digest"), Some(layer.blob.to_string().as_str()));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    }
    let config = open.blob(pushed.config.digest).await;
    assert_eq!(Digest::of(&config.body), pushed.config.digest);
}

/// "Pulling blobs": a registry should support ranges (RFC 9110): 206 with Content-Range, and 416 beyond the end.
#[tokio::test(flavor = "multi_thread")]
async fn end_2_ranges() {
    let ground = Ground::new();
    let pushed = ground.push(&[3 * MB]);
    let open = ground.open(&pushed).await;
    let (layer, path) = (&pushed.layers[0], format!("/v2/acme/app/blobs/{}", pushed.layers[0].blob));
    let whole = open.ask("GET", &path, &[]).await.body;
    let size = layer.size.0 as usize;
    for (asked, range) in [
        ("bytes=0-99".to_owned(), 0..100),
        ("bytes=1000000-".to_owned(), 1_000_000..size),
        ("bytes=-7".to_owned(), size - 7..size),
        (format!("bytes=5-{}", size * 2), 5..size),
    ] {
        let part = open.ask("GET", &path, &[("Range", &asked)]).await;
        assert_eq!((part.status, part.body == whole[range.clone()]), (206, true), "{asked}");
        let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        assert_eq!(part.header("content-range"), Some(shown.as_str()));
    }
    let beyond = open.ask("GET", &path, &[("Range", &format!("bytes={size}-"))]).await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{size}").as_str()));
    let nonsense = open.ask("GET", &path, &[("Range", "bytes=9-5")]).await;
    assert_eq!((nonsense.status, nonsense.body.len()), (200, size), "what cannot be read is ignored");
}

/// "Pulling blobs" and "Error Codes": unknown blobs, names and digests.
#[tokio::test(flavor = "multi_thread")]
async fn end_2_a_blob_that_is_not_there_is_404() {
    let ground = Ground::new();
    let pushed = ground.push(&[MB]);
    let open = ground.open(&pushed).await;
    let refused = open.blob(Digest::of(b"unknown")).await;
    assert_eq!((refused.status, code(&refused).as_str()), (404, "BLOB_UNKNOWN"));
    let refused = open.ask("GET", "/v2/acme/app/blobs/sha256:0", &[]).await;
    assert_eq!((refused.status, code(&refused).as_str()), (400, "DIGEST_INVALID"));
    let refused = open.ask("GET", &format!("/v2/other/app/blobs/{}", pushed.layers[0].blob), &[]).await;
    assert_eq!((refused.status, code(&refused).as_str()), (404, "NAME_UNKNOWN"));
    for path in ["/", "/v1/", "/v2/acme/app/tags/list", "/v2/_catalog", "/v2foo"] {
        let refused = open.ask("GET", path, &[]).await;
        assert_eq!(refused.status, 404, "{path}");
        code(&refused);
    }
}

/// "Error Codes": what a read-only registry does not do is 405 UNSUPPORTED.
#[tokio::test(flavor = "multi_thread")]
async fn end_4_to_end_10_pushing_and_deleting_are_unsupported() {
    let ground = Ground::new();
    let pushed = ground.push(&[MB]);
    let open = ground.open(&pushed).await;
    for (method, path) in [
        ("POST", "/v2/acme/app/blobs/uploads/".to_owned()),
        ("PUT", "/v2/acme/app/manifests/2".to_owned()),
        ("PATCH", "/v2/acme/app/blobs/uploads/1".to_owned()),
        ("DELETE", format!("/v2/acme/app/manifests/{}", pushed.digest)),
    ] {
        let refused = open.ask(method, &path, &[]).await;
        assert_eq!((refused.status, code(&refused).as_str()), (405, "UNSUPPORTED"), "{method} {path}");
    }
    assert_eq!(ground.proxy.passed(), [], "nothing of it reaches the origin");
}

/// Not in the specification: the engine tries HTTPS first, and must get an end and not silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_tls_client_hello_ends_the_connection_and_the_next_request_is_answered() {
    use std::io::{Read, Write};
    let ground = Ground::new();
    let open = ground.open(&ground.push(&[MB])).await;
    let host = open.relay.repository().registry().to_owned();
    let ended = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        // record type 22, TLS 1.0, 512 bytes of a ClientHello
        let hello = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03][..], &[7; 506]].concat();
        stream.write_all(&hello).unwrap();
        let mut answer = Vec::new();
        // an end, by a closed connection or a reset one
        match stream.read_to_end(&mut answer) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    });
    assert!(ended.await.unwrap());
    assert_eq!(open.ask("GET", "/v2/", &[]).await.status, 200);
}
