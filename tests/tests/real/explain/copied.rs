//! What a `COPY --from` repeats of a kept image: measured after the deploy, told before the next one.

use std::time::Duration;

use layerkeeper_core::{Bytes, JobState};
use layerkeeper_testkit::{Auth, Image, Layer, Registry, eventually};
use layerkeeper_tests::chain::layer;
use layerkeeper_tests::each::on_each;
use layerkeeper_tests::host::Host;

use super::{bytes, is_classic, kept, words};
use crate::reuse::foretold;

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
        let (_, pull) = foretold(&host, &registry, "sha-1", &first).await;
        assert_eq!(pull.downloaded_bytes, bytes(&first, &[1, 2]));
        let told = async || {
            let events = host.keeper.events(50).await.unwrap();
            let told: Vec<_> = events.into_iter().filter(|event| event.kind == "repeats files").collect();
            (!told.is_empty()).then_some(told)
        };
        let told = eventually(Duration::from_secs(60), told).await;
        let python_name = host.name("cache-python:1").to_string();
        let said = format!("copied 1.30 MB of 1.38 MB from {python_name}");
        assert!(told.len() == 1 && told[0].message.contains(&said), "{told:?}");
        let copied = first.layers[1].diff_id;
        let measured = async || {
            let rows = host.store().repeats(copied, String::new(), None).await.unwrap();
            rows.into_iter().find(|row| row.image == python_name)
        };
        let row = eventually(Duration::from_secs(20), measured).await;
        // the base's own file stands below both, and is not the layer's
        assert_eq!((row.repeated, row.total), (Bytes(1_300_000), Bytes(1_380_000)), "{row:?}");
        assert_eq!((row.repeated_files, row.files), (2, 3), "{row:?}");

        let second = runtime(21).push(&registry, "acme/app:sha-2").unwrap();
        let (_, pull) = foretold(&host, &registry, "sha-2", &second).await;
        assert_eq!(pull.downloaded_bytes, bytes(&second, &[1, 2]));
        let estimate = kept(&pull);
        let above = if is_classic(engine) { "above" } else { "never seen" };
        assert_eq!(words(estimate), [&[][..], &["differs", "repeats files"], &[above]], "{estimate:?}");
        let [_, repeats] = &*estimate.layers[1].causes else { panic!("{estimate:?}") };
        let said = "the last layer that this instruction made repeated 94 % of its files' bytes from";
        let said = format!("{said} {python_name} (1.30 MB of 1.38 MB, 2 of 3 files)");
        assert!(repeats.why.starts_with(&said), "{repeats:?}");
        let built_on = format!("FROM the image that has the files ({python_name})");
        assert!(repeats.advice.as_deref().unwrap().contains(&built_on), "{repeats:?}");
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
