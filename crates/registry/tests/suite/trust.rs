//! Private certificates and proxies.

use std::process::Command;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, Image, Layer, Proxy, Pushed, Registry};

use crate::shelf::{OCI_LAYER, Shelf};
use crate::stub::{Answer, Stub};
use crate::{Ground, amd64, reference};

async fn tls() -> Stub {
    let mut shelf = Shelf::default();
    shelf.image("amd64", &[OCI_LAYER], &["v1"]);
    Stub::start_tls(move |request| shelf.answer(request)).await
}

#[tokio::test]
async fn a_private_ca_is_taken_from_dockers_folder() {
    let stub = tls().await;
    let ground = Ground::new();
    ground.trust(&stub.host(), include_str!("tls/ca.crt"));
    ground.client.image(&reference(&stub.host(), "v1"), &amd64()).await.unwrap();
}

/// Debian's registry with one image in it.
fn real() -> (Registry, Pushed) {
    let registry = Registry::start(Auth::Open).unwrap();
    let image = Image::new().layer(Layer::random(61, Bytes(20_000)).unwrap());
    let pushed = image.push(&registry, "acme/app:v1").unwrap();
    (registry, pushed)
}

#[tokio::test]
async fn a_real_registry_with_a_private_ca_is_read_over_tls() {
    let (registry, pushed) = real();
    let front = registry.over_tls().unwrap();
    let (ground, image) = (Ground::new(), reference(&front.host(), "v1"));
    std::fs::create_dir_all(ground.dir.path().join("certs.d").join(front.host())).unwrap();
    let stranger = ground.client.image(&image, &amd64()).await.unwrap_err();
    assert!(stranger.is_unreachable() && stranger.to_string().contains("certificate"), "{stranger}");

    let ground = Ground::new();
    ground.trust(&front.host(), front.authority());
    let read = ground.client.image(&image, &amd64()).await.unwrap().image;
    assert_eq!((read.resolved, read.diff_ids()), (pushed.digest, pushed.diff_ids()));
}

/// Runs itself again, like the test below.
#[tokio::test]
async fn a_real_registry_beyond_a_proxy_is_read_through_it() {
    if let Ok(digest) = std::env::var("REGISTRY_TEST_BEYOND") {
        let read = Ground::new().client.image(&reference("registry.test", "v1"), &amd64()).await.unwrap().image;
        assert_eq!(read.resolved.to_string(), digest);
        return;
    }
    let (registry, pushed) = real();
    let front = registry.over_tls().unwrap();
    let proxy = Proxy::start(&front.host()).unwrap();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), front.authority()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "trust::a_real_registry_beyond_a_proxy_is_read_through_it"]);
    child.env("REGISTRY_TEST_BEYOND", pushed.digest.to_string()).env("SSL_CERT_FILE", authority.path());
    child.env("HTTPS_PROXY", format!("http://{}", proxy.host())).env_remove("NO_PROXY").env_remove("no_proxy");
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let passed = proxy.passed();
    assert!(!passed.is_empty());
    for tunnel in passed {
        assert_eq!(
            (tunnel.method.as_str(), tunnel.path.as_str(), tunnel.status),
            ("CONNECT", "registry.test:443", Some(200))
        );
        assert!(!tunnel.authorized);
    }
}

#[tokio::test]
async fn an_unknown_ca_and_a_broken_certificate_are_told() {
    let stub = tls().await;
    let ground = Ground::new();
    let certs = ground.dir.path().join("certs.d").join(stub.host());
    std::fs::create_dir_all(&certs).unwrap();
    let error = ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("certificate"), "{error}");

    let ground = Ground::new();
    ground.trust(&stub.host(), "not a certificate");
    let error = ground.client.resolve(&reference(&stub.host(), "v1")).await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("ca.crt"), "{error}");
}

/// The environment of a running process cannot be changed safely, so this test runs itself again in another one.
#[tokio::test]
async fn proxies_and_the_systems_certificates_are_taken_from_the_environment() {
    let ground = Ground::new();
    if let Ok(host) = std::env::var("REGISTRY_TEST_TLS_HOST") {
        // loopback hosts with a folder in certs.d speak TLS and are never asked through a proxy
        std::fs::create_dir_all(ground.dir.path().join("certs.d").join(&host)).unwrap();
        ground.client.resolve(&reference(&host, "v1")).await.unwrap();
        for away in ["registry.test", "direct.invalid"] {
            let error = ground.client.resolve(&reference(away, "v1")).await.unwrap_err();
            assert!(error.is_unreachable(), "{error}");
        }
        return;
    }
    let (proxy, stub) = (Stub::start(|_| Answer::new(502)).await, tls().await);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "trust::proxies_and_the_systems_certificates_are_taken_from_the_environment"]);
    child.env("REGISTRY_TEST_TLS_HOST", stub.host());
    child.env("SSL_CERT_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/tls/ca.crt"));
    child.env("HTTPS_PROXY", format!("http://{}", proxy.host())).env("NO_PROXY", "direct.invalid");
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(proxy.lines(), ["CONNECT registry.test:443"]);
    assert_eq!(stub.lines(), ["HEAD /v2/acme/app/manifests/v1"]);
}
