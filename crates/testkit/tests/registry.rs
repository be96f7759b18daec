//! A registry asks for what its kind of authentication wants, and keeps what it holds over a restart.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::http::Server;
use layerkeeper_testkit::{Auth, Authority, Engines, Image, Layer, Pushed, Registry, TokenServer};

fn pushed(registry: &Registry, name: &str) -> Pushed {
    Image::new().layer(Layer::random(31, Bytes(50_000)).unwrap()).push(registry, name).unwrap()
}

fn manifest_status(registry: &Registry, header: Option<String>) -> u16 {
    let server = registry.api();
    let request = server.request("GET", "/v2/acme/app/manifests/1").maybe_header("Authorization", header);
    request.header("Accept", "application/vnd.oci.image.manifest.v1+json").send().unwrap().status
}

#[test]
fn basic_authentication_is_asked_for() {
    let registry = Registry::start(Auth::Htpasswd { user: "ann".into(), password: "secret".into() }).unwrap();
    pushed(&registry, "acme/app:1");
    assert_eq!(manifest_status(&registry, None), 401);
    let challenge = registry.api().get("/v2/").unwrap();
    assert!(challenge.header("www-authenticate").unwrap().starts_with("Basic realm="));
    assert!(!format!("{registry:?}").contains("secret"));
}

#[test]
fn anybody_may_pull_with_a_token_and_only_the_user_what_is_private() {
    let registry = Registry::start(Auth::Token).unwrap();
    let tokens = registry.tokens().unwrap();
    let app = pushed(&registry, "acme/app:1");
    let secret = pushed(&registry, "acme/secret:1");
    tokens.make_private("acme/secret");
    assert_eq!(manifest_status(&registry, None), 401);
    for engine in Engines::all() {
        let before = tokens.requests().len();
        engine.run_docker(["pull", "--quiet", &app.reference()]).unwrap();
        assert!(tokens.requests().len() > before, "{:?} asked for no token", engine.kind());
        engine.run_docker(["pull", "--quiet", &secret.reference()]).unwrap_err();
        let login = ["login", "--username", TokenServer::USER, "--password", TokenServer::PASSWORD, &registry.host()];
        engine.run_docker(login).unwrap();
        engine.run_docker(["pull", "--quiet", &secret.reference()]).unwrap();
        engine.run_docker(["logout", &registry.host()]).unwrap();
    }
    let seen = tokens.requests();
    assert!(seen.iter().any(|r| r.user.is_none() && r.scopes == ["repository:acme/app:pull"]), "{seen:?}");
}

#[test]
fn a_token_ends_when_it_says() {
    let registry = Registry::start(Auth::Token).unwrap();
    let tokens = registry.tokens().unwrap();
    pushed(&registry, "acme/app:1");
    tokens.set_lifetime(Duration::from_secs(2));
    let server = Server::tcp(tokens.realm().strip_prefix("http://").unwrap().strip_suffix("/token").unwrap());
    let answer = server.get("/token?service=testkit-registry&scope=repository:acme/app:pull").unwrap();
    let token = answer.json().unwrap();
    assert_eq!(token["expires_in"], 2);
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    assert_eq!(manifest_status(&registry, Some(bearer.clone())), 200);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while manifest_status(&registry, Some(bearer.clone())) != 401 {
        assert!(std::time::Instant::now() < deadline, "the token never ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    tokens.refuse_with(Some(503));
    assert_eq!(server.get("/token").unwrap().status, 503);
}

#[test]
fn a_registry_keeps_its_port_and_storage_over_a_restart_and_forgets_what_is_deleted() {
    let mut registry = Registry::start(Auth::Open).unwrap();
    let app = pushed(&registry, "acme/app:1");
    assert_eq!(manifest_status(&registry, None), 200);
    registry.stop();
    registry.api().get("/v2/").unwrap_err();
    registry.start_again().unwrap();
    assert_eq!(manifest_status(&registry, None), 200);
    registry.delete_tag("acme/app", "1").unwrap();
    assert_eq!(manifest_status(&registry, None), 404);
    let by_digest = format!("/v2/acme/app/manifests/{}", app.digest);
    let server = registry.api();
    // without the right type in Accept, distribution 2.8 answers 404 for an OCI manifest
    let accept = "application/vnd.oci.image.manifest.v1+json";
    let status = || server.request("GET", &by_digest).header("Accept", accept).send().unwrap().status;
    assert_eq!(status(), 200);
    registry.delete_manifest("acme/app", app.digest).unwrap();
    assert_eq!(status(), 404);
}

#[test]
fn a_cache_pulls_through() {
    let origin = Registry::start(Auth::Open).unwrap();
    pushed(&origin, "acme/app:1");
    let cache = Registry::cache_of(&format!("http://{}", origin.host())).unwrap();
    assert_eq!(manifest_status(&cache, None), 200);
}

#[test]
fn the_same_registry_speaks_tls_to_those_who_trust_its_authority() {
    let registry = Registry::start(Auth::Open).unwrap();
    let front = registry.over_tls().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let verify = |authority: &str| {
        std::fs::write(file.path(), authority).unwrap();
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["s_client", "-verify_return_error", "-verify_ip", "127.0.0.1", "-connect", &front.host()]);
        let output = openssl.arg("-CAfile").arg(file.path()).stdin(std::process::Stdio::null()).output().unwrap();
        output.status.success()
    };
    assert!(verify(front.authority()));
    assert!(!verify(Authority::new().unwrap().pem()));
}
