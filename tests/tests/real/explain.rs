//! Why layers move: each cause on images made for it, before the pull and in its report, to the byte of the registry's
//! access log.

mod came;
mod compression;
mod copied;
mod lost;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_keeper::DeployRequest;
use layerkeeper_store::record::{EstimateRecord, PullRecord};
use layerkeeper_testkit::{Agent, Auth, Engine, EngineKind, Image, Registry};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use crate::reuse::{bare, foretold, layers};

/// The causes of each layer by their words, bottom first.
fn words(estimate: &EstimateRecord) -> Vec<Vec<&str>> {
    estimate.layers.iter().map(|layer| layer.causes.iter().map(|cause| cause.cause.as_str()).collect()).collect()
}

/// What is said of the only cause of a layer.
fn said(estimate: &EstimateRecord, layer: usize) -> &str {
    match &*estimate.layers[layer].causes {
        [cause] => &cause.why,
        causes => panic!("layer {layer}: {causes:?}"),
    }
}

/// What the report of a pull keeps of its estimate.
fn kept(pull: &PullRecord) -> &EstimateRecord {
    assert_eq!(pull.estimate_error_bytes, Some(0), "{pull:?}");
    pull.estimate.as_ref().unwrap()
}

fn is_classic(engine: &Engine) -> bool {
    engine.kind() != EngineKind::C
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_layer_that_differs_is_named_with_its_instruction_and_what_lies_above_follows() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        let os = layer(60, number, 1, Bytes(90_000)).created_by("ADD os.tar /");
        let apt =
            |n: u64| layer(60, number, n, Bytes(200_000)).created_by("RUN apt-get update && apt-get install -y git");
        let code = layer(60, number, 4, Bytes(50_000)).created_by("COPY . /app");
        let image = |n: u64| Image::new().layer(os.clone()).empty("ENV A=b").layer(apt(n)).layer(code.clone());
        for (tag, n) in [("sha-1", 2), ("sha-2", 3)] {
            let pushed = image(n).push(&registry, &format!("acme/app:{tag}")).unwrap();
            let (plan, pull) = foretold(&host, &registry, tag, &pushed).await;
            if tag == "sha-1" {
                continue;
            }
            let estimate = kept(&pull);
            let sizes: Vec<u64> = pushed.layers.iter().map(|layer| layer.size.0).collect();
            // the classic store has the code's blob, but not in this place of the chain
            let moves = if is_classic(engine) { sizes[1] + sizes[2] } else { sizes[1] };
            assert_eq!(pull.downloaded_bytes, moves);
            let above: &[&str] = if is_classic(engine) { &["above"] } else { &[] };
            assert_eq!(words(estimate), [&[][..], &["differs"], above], "{estimate:?}");
            let first = host.name("app:sha-1");
            assert_eq!(estimate.compared_with, Some(first.to_string()));
            assert!(said(estimate, 1).contains("the same instruction made other content"), "{estimate:?}");
            let advice = estimate.layers[1].causes[0].advice.as_deref().unwrap();
            assert!(advice.contains("package index"), "{advice}");
            assert!(plan.estimate.peak_bytes.unwrap() > moves, "{plan:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_on_another_base_is_at_another_position_for_the_classic_store() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = Host::new(engine, &registry.host(), |policy, _| policy.keep.truncate(1)).await;
        let shared = layer(62, number, 1, Bytes(400_000));
        let on = |n: u64| Image::new().layer(layer(62, number, n, Bytes(90_000))).layer(shared.clone());
        on(2).push(&registry, "acme/base:1").unwrap();
        for row in host.prewarm().await {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
        let pushed = on(3).push(&registry, "acme/app:sha-2").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-2", &pushed).await;
        let estimate = kept(&pull);
        if is_classic(engine) {
            assert_eq!(words(estimate), [["never seen"], ["other position"]], "{estimate:?}");
            assert!(said(estimate, 1).contains(&host.name("base:1").to_string()), "{estimate:?}");
            let advice = estimate.layers[1].causes[0].advice.as_deref().unwrap();
            assert!(advice.contains("build FROM the image that has it"), "{advice}");
            assert_eq!(Bytes(pull.downloaded_bytes), pushed.layer_bytes());
        } else {
            assert_eq!(words(estimate), [&["never seen"][..], &[]], "{estimate:?}");
            assert_eq!(Bytes(pull.reused_bytes), pushed.layers[1].size);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_over_the_limit_is_refused_before_anything_moves_and_says_why() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let limit = Some(Bytes(250_000));
        let host = Host::new(engine, &registry.host(), |policy, _| {
            policy.keep.clear();
            policy.runtime[0].download_limit = limit;
        })
        .await;
        let os = layer(65, number, 1, Bytes(200_000)).created_by("ADD os.tar /");
        let venv = |n: u64| layer(65, number, n, Bytes(400_000)).created_by("COPY --from=python /opt/venv /opt/venv");
        let small = Image::new().layer(os.clone()).push(&registry, "acme/app:sha-1").unwrap();
        host.ship("sha-1", None).await;
        let large = Image::new().layer(os).layer(venv(2)).push(&registry, "acme/app:sha-2").unwrap();
        let mark = registry.mark();
        let row = host.deploy("sha-2", None).await;
        assert_eq!(row.job.state, JobState::Refused, "{:?}", row.outcome);
        assert_eq!(registry.bytes_of_layers(mark, &layers(&[&small, &large]), Agent::Engine), Bytes(0));
        let error = row.outcome.error.unwrap();
        assert_eq!(error.class, "over_limit");
        let moves = large.layers[1].size;
        assert!(error.message.contains(&format!("would move {moves}")), "{}", error.message);
        for part in ["COPY --from=python /opt/venv", "it is new on top of", "--override budget"] {
            assert!(error.detail.contains(part), "{part}: {}", error.detail);
        }
        assert!(!error.message.contains("COPY"), "the sender learns no instruction: {}", error.message);
        assert_eq!(words(row.outcome.estimate.as_ref().unwrap()), [&[][..], &["on top"]]);
        let request = DeployRequest { image: host.name("app:sha-2"), digest: None, over_limit: true };
        let answer = host.keeper.deploy(request, 0).await.unwrap();
        let row = host.end(&answer.job.id).await;
        assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        assert_eq!(Bytes(row.outcome.pull.unwrap().downloaded_bytes), moves);
    })
    .await;
}
