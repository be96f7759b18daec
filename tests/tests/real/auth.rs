//! Registries that want credentials: they come from docker's config.json, reach the engine with the pull, and never show
//! up in what a job leaves behind.

use std::time::{Duration, Instant};

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_store::JobRow;
use layerkeeper_testkit::{
    Auth, DockerConfig, Engine, EngineKind, Engines, Image, Registry, Scratch, TokenServer, eventually,
};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;
use layerkeeper_tests::report::assert_sums;

const PASSWORD: &str = "battery-staple-9";

fn htpasswd() -> Auth {
    Auth::Htpasswd { user: "ann".into(), password: PASSWORD.into() }
}

/// A host whose docker config.json is this.
async fn host(engine: &Engine, registry: &Registry, config: DockerConfig) -> (Host, Scratch) {
    let scratch = Scratch::new("docker-config").unwrap();
    let path = scratch.path().join("config.json");
    config.write(&path).unwrap();
    let host = Host::new(engine, &registry.host(), |policy, client| {
        policy.keep.clear();
        client.docker_config = Some(path);
    })
    .await;
    (host, scratch)
}

/// Neither in the record nor in what the keeper tells is any of these.
async fn assert_silent(host: &Host, row: &JobRow, secrets: &[&str]) {
    let told = [
        serde_json::to_string(&row.outcome).unwrap(),
        serde_json::to_string(&host.keeper.status().await).unwrap(),
        format!("{:?}", host.keeper.events(100).await.unwrap()),
        host.keeper.metrics_text().await,
    ];
    for secret in secrets {
        assert!(told.iter().all(|text| !text.contains(secret)), "a secret was told: {told:?}");
    }
}

fn assert_denied(row: &JobRow, registry: &Registry) {
    assert_eq!(row.job.state, JobState::Failed, "{:?}", row.outcome);
    let error = row.outcome.error.as_ref().unwrap();
    assert_eq!(error.class, "access_denied", "{error:?}");
    assert!(error.message.contains("credentials"), "{error:?}");
    assert!(error.detail.contains(&registry.host()) && error.detail.contains("acme/app"), "{error:?}");
    assert_eq!((row.outcome.moved_bytes, row.job.attempts), (0, 1), "trying again is no use");
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_credentials_open_a_registry_and_wrong_ones_are_told_apart_from_silence() {
    on_each(|engine, number| async move {
        let registry = Registry::start(htpasswd()).unwrap();
        let image = Image::new().layer(layer(10, number, 1, Bytes(200_000)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        let address = registry.host();
        for config in [DockerConfig::new(), DockerConfig::new().auth(&address, "ann", "wrong-wrong-1")] {
            let (host, _config) = host(engine, &registry, config).await;
            let row = host.deploy("sha-1", None).await;
            assert_denied(&row, &registry);
            // base64 of `ann:wrong-wrong-1`
            assert_silent(&host, &row, &["wrong-wrong-1", "YW5uOndyb25nLXdyb25nLTE"]).await;
            assert!(!host.has("app:sha-1").await);
        }
        let (host, _config) = host(engine, &registry, DockerConfig::new().auth(&address, "ann", PASSWORD)).await;
        let row = host.deploy("sha-1", None).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        let pull = row.outcome.pull.as_ref().unwrap();
        assert_sums(engine, pull, &pushed);
        assert_eq!(Bytes(pull.downloaded_bytes), pushed.layer_bytes());
        // base64 of `ann:battery-staple-9`
        assert_silent(&host, &row, &[PASSWORD, "YW5uOmJhdHRlcnktc3RhcGxlLTk"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_is_read_anew() {
    on_each(|engine, number| async move {
        let registry = Registry::start(htpasswd()).unwrap();
        Image::new().layer(layer(11, number, 1, Bytes(90_000))).push(&registry, "acme/app:sha-1").unwrap();
        let (host, scratch) = host(engine, &registry, DockerConfig::new().auth(&registry.host(), "ann", "old")).await;
        assert_denied(&host.deploy("sha-1", None).await, &registry);
        let config = DockerConfig::new().auth(&registry.host(), "ann", PASSWORD);
        config.write(&scratch.path().join("config.json")).unwrap();
        host.ship("sha-1", None).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_registry_gives_public_images_to_anybody_and_private_ones_to_who_has_credentials() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Token).unwrap();
        let tokens = registry.tokens().unwrap();
        let address = registry.host();
        let image = Image::new().layer(layer(12, number, 1, Bytes(200_000)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        Image::from(&image).layer(layer(12, number, 2, Bytes(90_000))).push(&registry, "acme/app:sha-2").unwrap();
        let (anonymous, _config) = host(engine, &registry, DockerConfig::new()).await;
        let pull = anonymous.ship("sha-1", None).await.pull.unwrap();
        assert_sums(engine, &pull, &pushed);
        assert!(tokens.requests().iter().all(|request| request.user.is_none()));

        tokens.make_private("acme/app");
        // the token of the public time is still good, so this asks by a keeper that has none
        let (anonymous, _config) = host(engine, &registry, DockerConfig::new()).await;
        assert_denied(&anonymous.deploy("sha-2", None).await, &registry);
        let config = DockerConfig::new().auth(&address, TokenServer::USER, "wrong-horse");
        let (wrong, _config) = host(engine, &registry, config).await;
        let row = wrong.deploy("sha-2", None).await;
        assert_denied(&row, &registry);
        assert_silent(&wrong, &row, &["wrong-horse"]).await;

        let config = DockerConfig::new().auth(&address, TokenServer::USER, TokenServer::PASSWORD);
        let (right, _config) = host(engine, &registry, config).await;
        let row = right.deploy("sha-2", None).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        assert_silent(&right, &row, &[TokenServer::PASSWORD, "eyJ"]).await;
        assert!(tokens.requests().iter().any(|request| request.user.as_deref() == Some(TokenServer::USER)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_run_out_is_fetched_anew() {
    let engine = Engines::of(EngineKind::A);
    let registry = Registry::start(Auth::Token).unwrap();
    let tokens = registry.tokens().unwrap();
    tokens.set_lifetime(Duration::from_secs(2));
    let (host, _config) = host(engine, &registry, DockerConfig::new()).await;
    let push = |version: u64| {
        let image = Image::new().layer(layer(13, 1, version, Bytes(90_000)));
        image.push(&registry, &format!("acme/app:sha-{version}")).unwrap();
        host.name(&format!("app:sha-{version}")).to_reference()
    };
    for version in 1..=2 {
        let image = push(version);
        let before = tokens.requests().len();
        // the engine takes no token of less than a minute, so this is about the daemon's own look
        host.keeper.plan(&image).await.unwrap();
        assert_eq!(tokens.requests().len(), before + 1, "version {version} came by a token of its own, fetched once");
        let until = Instant::now() + Duration::from_secs(2);
        eventually(Duration::from_secs(5), || async { Instant::now() > until }).await;
    }
    // a token server that fails is no lack of credentials
    tokens.set_lifetime(Duration::from_secs(300));
    tokens.refuse_with(Some(503));
    push(3);
    let answer = host.ask("sha-3", None).await;
    let failed = || async { host.keeper.job(&answer.job.id).await.unwrap().and_then(|row| row.outcome.error) };
    let error = eventually(Duration::from_secs(10), failed).await;
    assert_eq!(error.class, "registry_error", "{error:?}");
    tokens.refuse_with(None);
    assert_eq!(host.end(&answer.job.id).await.job.state, JobState::Succeeded);
}
