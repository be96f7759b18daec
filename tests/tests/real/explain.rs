//! Why layers move: each cause on images made for it, before the pull and in its report, to the byte of the registry's
//! access log.

use std::time::Duration;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_keeper::DeployRequest;
use layerkeeper_store::record::{EstimateRecord, PullRecord};
use layerkeeper_testkit::{Agent, Auth, Engine, EngineKind, Engines, Image, Layer, Registry, Scratch, eventually};
use layerkeeper_tests::chain::{Chain, layer};
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
async fn the_same_content_compressed_anew_is_told_apart_from_new_content() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        let os = layer(61, number, 1, Bytes(300_000));
        let own = |n: u64| layer(61, number, n, Bytes(50_000));
        let first = Image::new().layer(os.clone().gzip(1)).layer(own(2));
        let pushed = first.push(&registry, "acme/app:sha-1").unwrap();
        foretold(&host, &registry, "sha-1", &pushed).await;
        let again = Image::new().layer(os.gzip(9)).layer(own(3)).push(&registry, "acme/app:sha-2").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-2", &again).await;
        let estimate = kept(&pull);
        if !is_classic(engine) {
            // it skips what it has unpacked, whatever the blob
            assert_eq!(words(estimate), [&[][..], &["differs"]], "{estimate:?}");
            return;
        }
        assert_eq!(Bytes(pull.downloaded_bytes), again.layer_bytes());
        assert_eq!(words(estimate), [&["other compression"][..], &["differs"]], "{estimate:?}");
        let known = pushed.layers[0].blob.short();
        assert!(said(estimate, 0).contains(&format!("({known}, gzip)")), "{}", said(estimate, 0));
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
async fn what_came_by_load_says_so_and_names_the_image() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let chain = Chain::new(6300 + number, 1).unwrap();
        let base = chain.base.push(&registry, "acme/base:1").unwrap();
        let other = if engine.kind() == EngineKind::A { EngineKind::B } else { EngineKind::A };
        let (other, name) = (Engines::of(other), base.name.to_string());
        let scratch = Scratch::new("save").unwrap();
        let tar = scratch.path().join("base.tar").display().to_string();
        other.run_docker(["pull", "--quiet", &name]).unwrap();
        other.run_docker(["save", "--output", &tar, &name]).unwrap();
        engine.run_docker(["load", "--quiet", "--input", &tar]).unwrap();
        chain.runtime(1, Bytes(300_000)).unwrap().push(&registry, "acme/app:sha-1").unwrap();
        let host = bare(engine, &registry.host()).await;
        let plan = host.keeper.plan(&host.name("app:sha-1").to_reference()).await.unwrap();
        if is_classic(engine) {
            assert_eq!(words(&plan.estimate)[..2], [["loaded or built"], ["loaded or built"]], "{plan:?}");
            assert!(said(&plan.estimate, 0).contains(&name), "{plan:?}");
            assert!(plan.estimate.fetch_bytes_least < plan.estimate.fetch_bytes_most);
        }
    })
    .await;
}

/// Somebody untags the newest tag while the registry is away, so that nothing brings it back at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_here_is_told_as_lost_with_the_time_and_the_call() {
    on_each(|engine, number| async move {
        let mut registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        let image = Image::new().layer(layer(64, number, 1, Bytes(200_000))).layer(layer(64, number, 2, Bytes(90_000)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        host.ship("sha-1", None).await;
        registry.stop();
        let name = host.name("app:sha-1");
        let before = host.now();
        engine.run_docker(["rmi", &name.to_string()]).unwrap();
        eventually(Duration::from_secs(30), async || {
            host.keeper.status().await.losses.iter().any(|loss| loss.image == name.to_string())
        })
        .await;
        registry.start_again().unwrap();
        let plan = host.keeper.plan(&name.to_reference()).await.unwrap();
        assert_eq!(words(&plan.estimate), [["lost"], ["lost"]], "{plan:?}");
        let said = said(&plan.estimate, 0);
        assert!(said.contains(&format!("it was here in {name}, which was gone at 20")), "{said}");
        assert!(said.contains("untag") || said.contains("delete"), "{said}");
        assert!(host.now() >= before);
        assert_eq!(Bytes(plan.estimate.fetch_bytes_least), pushed.layer_bytes());
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

/// The case behind it all: the runtime copies the virtual environment out of cache-python instead of being built on it. What
/// that repeats is measured once both are here, and the next plan says it before the pull.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_what_a_kept_image_has_is_measured_and_foretold() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        // a file's content is its number, over and over
        let file = |path: &str, n: u64, size: usize| {
            let content: Vec<u8> = (n * 1000 + number).to_le_bytes().repeat(size / 8);
            (format!("opt/venv/{path}"), content)
        };
        let torch = || [file("lib/torch.so", 1, 900_000), file("lib/numpy.so", 2, 400_000)];
        let cached = |n: u64| file("lib/torch.pyc", n, 80_000);
        let venv = |pyc: u64| Layer::files(torch().into_iter().chain([cached(pyc)])).unwrap().gzip(0);
        let base = Image::new().layer(Layer::files([file("lib/base.so", 3, 200_000)]).unwrap().gzip(0));
        base.push(&registry, "acme/base:1").unwrap();
        let python = Image::from(&base).layer(venv(10).created_by("RUN pip install torch"));
        python.push(&registry, "acme/cache-python:1").unwrap();
        // built on cache-python, it has the same files, and is not the one to name
        let node = Image::from(&python).layer(Layer::files([file("bin/node", 4, 100_000)]).unwrap().gzip(0));
        node.push(&registry, "acme/cache-node:1").unwrap();
        let runtime = |pyc: u64| {
            let copied = venv(pyc).created_by("COPY --from=python-deps /opt/venv /opt/venv # buildkit");
            Image::from(&base).layer(copied).layer(layer(66, number, pyc, Bytes(50_000)))
        };
        let host = Host::new(engine, &registry.host(), |_, _| {}).await;
        for row in host.prewarm().await {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
        let first = runtime(20).push(&registry, "acme/app:sha-1").unwrap();
        let pull = host.ship("sha-1", None).await.pull.unwrap();
        assert_eq!(Bytes(pull.downloaded_bytes), first.layers[1..].iter().map(|layer| layer.size).sum());
        let told = async || {
            let events = host.keeper.events(50).await.unwrap();
            let told: Vec<_> = events.into_iter().filter(|event| event.kind == "repeats files").collect();
            (!told.is_empty()).then_some(told)
        };
        let told = eventually(Duration::from_secs(60), told).await;
        let python_name = host.name("cache-python:1").to_string();
        // the base's own file stands below both, and is not the layer's
        let said = format!("copied 1.30 MB of 1.38 MB from {python_name}");
        assert!(told.len() == 1 && told[0].message.contains(&said), "{told:?}");

        let second = runtime(21).push(&registry, "acme/app:sha-2").unwrap();
        let plan = host.keeper.plan(&second.name.to_reference()).await.unwrap();
        let causes = &plan.estimate.layers[1].causes;
        let found: Vec<&str> = causes.iter().map(|cause| cause.cause.as_str()).collect();
        assert_eq!(found, ["differs", "repeats files"], "{plan:?}");
        let said = &causes[1].why;
        for part in ["the last layer that this instruction made repeated 94 %", "2 of 3 files", &python_name] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(
            causes[1]
                .advice
                .as_deref()
                .unwrap()
                .contains(&format!("FROM the image that has the files ({python_name})"))
        );
        let label = "label=io.layerkeeper.reading";
        let left = async || {
            let ours = |image: &str| image.contains(&registry.host());
            let format = "{{.Image}}";
            let listed = engine.run_docker(["ps", "--all", "--format", format, "--filter", label]).unwrap();
            !listed.lines().any(ours)
        };
        eventually(Duration::from_secs(20), left).await;
    })
    .await;
}

/// A page of 1.2 MB that is copied beside packages of 1.6 MB: all the packages stand at its place, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_layer_repeats_nothing_that_another_layer_put_beside_it() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let file = |path: &str, n: u64, size: usize| {
            (format!("srv/app/{path}"), (n * 1000 + number).to_le_bytes().repeat(size / 8))
        };
        let packages = |lock: u64| {
            let files = (1..=4).map(|n| file(&format!("node_modules/{n}.js"), n, 400_000));
            Layer::files(files.chain([file("node_modules/.lock", lock, 80_000)])).unwrap().gzip(0)
        };
        let page = |n: u64| Layer::files([file("index.html", n, 1_200_000)]).unwrap().gzip(0);
        let base = Image::new().layer(layer(67, number, 1, Bytes(90_000)));
        base.push(&registry, "acme/base:1").unwrap();
        let cache = Image::from(&base).layer(packages(20).created_by("RUN npm ci"));
        cache.push(&registry, "acme/cache-python:1").unwrap();
        let runtime = |n: u64| {
            let copied =
                packages(n).created_by("COPY --from=deps /srv/app/node_modules /srv/app/node_modules # buildkit");
            let page = page(n).created_by("COPY --from=web /dist /srv/app # buildkit");
            // bottom first, as they are measured
            Image::from(&base).layer(page).layer(copied)
        };
        let host = Host::new(engine, &registry.host(), |policy, _| drop(policy.keep.pop())).await;
        for row in host.prewarm().await {
            assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
        }
        runtime(10).push(&registry, "acme/app:sha-1").unwrap();
        host.ship("sha-1", None).await;
        let told = async || {
            let events = host.keeper.events(50).await.unwrap();
            events.into_iter().filter(|event| event.kind == "repeats files").map(|event| event.message).next()
        };
        let told = eventually(Duration::from_secs(60), told).await;
        assert!(told.starts_with("`COPY --from=deps") && told.contains("copied 1.60 MB of 1.68 MB"), "{told}");
        let second = runtime(11).push(&registry, "acme/app:sha-2").unwrap();
        let plan = host.keeper.plan(&second.name.to_reference()).await.unwrap();
        assert!(!words(&plan.estimate)[1].contains(&"repeats files"), "{plan:?}");
    })
    .await;
}
