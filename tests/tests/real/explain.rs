//! Why layers move: each cause on images made for it, before the pull and in its report, to the byte of the registry's
//! access log.

mod came;
mod compression;
mod copied;
mod lost;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_keeper::DeployRequest;
use layerkeeper_store::record::{EstimateRecord, PullRecord};
use layerkeeper_testkit::{Agent, Auth, Engine, EngineKind, Image, Layer, Pushed, Registry};
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

/// What is to be done about the only cause of a layer.
fn advice(estimate: &EstimateRecord, layer: usize) -> &str {
    match &*estimate.layers[layer].causes {
        [cause] => cause.advice.as_deref().unwrap_or_default(),
        causes => panic!("layer {layer}: {causes:?}"),
    }
}

/// What these layers take together.
fn bytes(pushed: &Pushed, layers: &[usize]) -> u64 {
    layers.iter().map(|at| pushed.layers[*at].size.0).sum()
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
            // the classic store has the code's blob, but not in this place of the chain
            let moves = bytes(&pushed, if is_classic(engine) { &[1, 2] } else { &[1] });
            assert_eq!(pull.downloaded_bytes, moves);
            let above: &[&str] = if is_classic(engine) { &["above"] } else { &[] };
            assert_eq!(words(estimate), [&[][..], &["differs"], above], "{estimate:?}");
            let first = host.name("app:sha-1");
            assert_eq!(estimate.compared_with, Some(first.to_string()));
            assert!(said(estimate, 1).contains("the same instruction made other content"), "{estimate:?}");
            assert!(advice(estimate, 1).contains("package index"), "{estimate:?}");
            assert!(plan.estimate.peak_bytes.unwrap() > moves, "{plan:?}");
        }
    })
    .await;
}

/// On a server that has nothing of the kind, and then once more with another requirement.
#[tokio::test(flavor = "multi_thread")]
async fn requirements_that_changed_are_the_first_that_differs_and_their_install_follows() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        let os = layer(84, number, 1, Bytes(90_000)).created_by("ADD os.tar /");
        let requirements = |torch: &str| {
            let text = format!("# {number}\ntorch=={torch}\n");
            let file = Layer::files([("app/requirements.txt", text)]).unwrap();
            file.created_by("COPY requirements.txt /app/ # buildkit")
        };
        let install = |n: u64| {
            let torch = layer(84, number, n, Bytes(400_000));
            torch.created_by("RUN /bin/sh -c pip install -r /app/requirements.txt # buildkit")
        };
        let code = layer(84, number, 4, Bytes(50_000)).created_by("COPY . /app # buildkit");
        let image = |torch: &str, n: u64| {
            Image::new().layer(os.clone()).layer(requirements(torch)).layer(install(n)).layer(code.clone())
        };
        let first = image("2.3.0", 2).push(&registry, "acme/app:sha-1").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-1", &first).await;
        let estimate = kept(&pull);
        assert_eq!(words(estimate), [["never seen"]; 4], "{estimate:?}");
        assert_eq!(estimate.compared_with, None);
        assert!(advice(estimate, 0).contains("keep the image that it is built on as a [[keep]] block"), "{estimate:?}");
        assert_eq!(advice(estimate, 1), "", "once is enough");

        let second = image("2.4.0", 3).push(&registry, "acme/app:sha-2").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-2", &second).await;
        let estimate = kept(&pull);
        if is_classic(engine) {
            assert_eq!(words(estimate), [&[][..], &["differs"], &["above"], &["above"]], "{estimate:?}");
            assert_eq!(pull.downloaded_bytes, bytes(&second, &[1, 2, 3]));
        } else {
            // the code's blob is here, and that is all that this store asks
            assert_eq!(words(estimate), [&[][..], &["differs"], &["never seen"], &[]], "{estimate:?}");
            assert_eq!(pull.downloaded_bytes, bytes(&second, &[1, 2]));
        }
        assert!(said(estimate, 1).contains("the same instruction made other content"), "{estimate:?}");
        assert!(advice(estimate, 1).starts_with("the files that it copies have changed"), "{estimate:?}");
    })
    .await;
}

/// The base image was built anew from its lowest layer on, and the server keeps the old one: nothing at all is shared.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_moved_is_named_and_all_of_the_image_moves() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = Host::new(engine, &registry.host(), |policy, _| policy.keep.truncate(1)).await;
        let base = |n: u64| {
            let os = layer(85, number, n, Bytes(200_000)).created_by("ADD ubuntu-22.04.tar / # buildkit");
            let cudnn = layer(85, number, n + 1, Bytes(300_000));
            Image::new().layer(os).layer(cudnn.created_by("RUN /bin/sh -c apt-get install -y libcudnn8 # buildkit"))
        };
        let app = |on: u64, n: u64| {
            let code = layer(85, number, n, Bytes(50_000)).created_by("COPY . /app # buildkit");
            Image::from(&base(on)).layer(code)
        };
        base(1).push(&registry, "acme/base:1").unwrap();
        for row in host.prewarm().await {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
        let first = app(1, 5).push(&registry, "acme/app:sha-1").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-1", &first).await;
        assert_eq!(pull.downloaded_bytes, bytes(&first, &[2]));
        let estimate = kept(&pull);
        assert_eq!(words(estimate), [&[][..], &[], &["on top"]], "{estimate:?}");

        let second = app(3, 6).push(&registry, "acme/app:sha-2").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-2", &second).await;
        assert_eq!(Bytes(pull.downloaded_bytes), second.layer_bytes());
        let estimate = kept(&pull);
        let above = if is_classic(engine) { "above" } else { "never seen" };
        assert_eq!(words(estimate), [["differs"], [above], [above]], "{estimate:?}");
        assert_eq!(estimate.compared_with, Some(first.name.to_string()));
        let left = format!("it is no longer built on {} as it is here", host.name("base:1"));
        assert!(said(estimate, 0).contains(&left), "{estimate:?}");
        assert!(advice(estimate, 0).contains("layerkeeper prewarm"), "{estimate:?}");
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
        let app = |on: Image, n: u64| on.layer(layer(62, number, n, Bytes(50_000)));
        on(2).push(&registry, "acme/base:1").unwrap();
        for row in host.prewarm().await {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
        let first = app(on(2), 4).push(&registry, "acme/app:sha-1").unwrap();
        foretold(&host, &registry, "sha-1", &first).await;
        let pushed = app(on(3), 5).push(&registry, "acme/app:sha-2").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-2", &pushed).await;
        let estimate = kept(&pull);
        let base = host.name("base:1").to_string();
        assert!(said(estimate, 0).contains(&format!("it is no longer built on {base}")), "{estimate:?}");
        if is_classic(engine) {
            assert_eq!(words(estimate), [["differs"], ["other position"], ["above"]], "{estimate:?}");
            assert!(said(estimate, 1).contains(&base), "{estimate:?}");
            assert!(advice(estimate, 1).contains("build FROM the image that has it"), "{estimate:?}");
            assert_eq!(Bytes(pull.downloaded_bytes), pushed.layer_bytes());
        } else {
            assert_eq!(words(estimate), [&["differs"][..], &[], &["never seen"]], "{estimate:?}");
            assert_eq!(pull.downloaded_bytes, bytes(&pushed, &[0, 2]));
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
