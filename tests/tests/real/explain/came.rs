//! What came here otherwise than by a pull: the engine has the content, and nobody knows by which blob it knows it.

use std::fs;

use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, Engine, EngineKind, Engines, Image, Registry, Scratch};
use layerkeeper_tests::chain::{Chain, layer};
use layerkeeper_tests::each::on_each;

use super::{advice, bytes, is_classic, kept, said, words};
use crate::reuse::{bare, foretold};

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
        let host = bare(engine, &registry.host()).await;
        if !is_classic(engine) {
            // what is unpacked on the very layers below it this store needs no more: on others it does
            let cudnn = chain.base.layers().nth(1).unwrap().clone();
            let apart = Image::new().layer(layer(63, number, 1, Bytes(90_000))).layer(cudnn);
            let apart = apart.push(&registry, "acme/app:sha-0").unwrap();
            let (plan, pull) = foretold(&host, &registry, "sha-0", &apart).await;
            let estimate = kept(&pull);
            assert_eq!(words(estimate), [["never seen"], ["loaded or built"]], "{estimate:?}");
            assert!(said(estimate, 1).contains(&name), "{estimate:?}");
            let (least, most) = (plan.estimate.fetch_bytes_least, plan.estimate.fetch_bytes_most);
            assert_eq!((least, most), (bytes(&apart, &[0]), bytes(&apart, &[0, 1])));
            assert_eq!(pull.downloaded_bytes, most, "the blob was never here");
        }
        let runtime = chain.runtime(1, Bytes(300_000)).unwrap().push(&registry, "acme/app:sha-1").unwrap();
        let (plan, pull) = foretold(&host, &registry, "sha-1", &runtime).await;
        let estimate = kept(&pull);
        let (least, most) = (plan.estimate.fetch_bytes_least, plan.estimate.fetch_bytes_most);
        if is_classic(engine) {
            let causes = ["loaded or built", "loaded or built", "on top", "above", "above"];
            assert_eq!(words(estimate).concat(), causes, "{estimate:?}");
            assert!(said(estimate, 0).contains(&name), "{estimate:?}");
            assert!(advice(estimate, 0).starts_with(&format!("pull {name} from its registry once")), "{estimate:?}");
            assert_eq!((least, most), (bytes(&runtime, &[2, 3, 4]), runtime.layer_bytes().0));
            assert_eq!(Bytes(pull.downloaded_bytes), runtime.layer_bytes(), "all of it comes again");
        } else {
            let causes = [&[][..], &[], &["on top"], &["never seen"], &["never seen"]];
            assert_eq!(words(estimate), causes, "{estimate:?}");
            assert_eq!((least, most), (pull.downloaded_bytes, bytes(&runtime, &[2, 3, 4])));
        }
    })
    .await;
}

/// Commits a file on top of an image, as a build does, and gives it a name.
fn build(engine: &Engine, from: &str, number: u64, name: &str) {
    let scratch = Scratch::new("build").unwrap();
    let (file, container) = (scratch.path().join("made"), format!("builds-{number}"));
    fs::write(&file, layer(87, number, 4, Bytes(200_000)).blob().unwrap().0).unwrap();
    engine.run_docker(["create", "--network", "none", "--name", &container, from]).unwrap();
    engine.run_docker(["cp", &file.display().to_string(), &format!("{container}:/made")]).unwrap();
    engine.run_docker(["commit", &container, name]).unwrap();
    engine.run_docker(["rm", &container]).unwrap();
}

/// Built on this very server, and pushed by another tool: what this engine pushes itself it knows.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_here_says_so_and_names_the_image() {
    on_each(|engine, number| async move {
        let registry = Registry::start(Auth::Open).unwrap();
        let host = bare(engine, &registry.host()).await;
        let base = Image::new().layer(layer(87, number, 1, Bytes(90_000)));
        let from = base.push(&registry, "acme/base:1").unwrap().reference();
        engine.run_docker(["pull", "--quiet", &from]).unwrap();
        let built = host.name("built:1").to_string();
        build(engine, &from, number, &built);
        let made = engine.saved_layers(&built).unwrap().pop().unwrap();
        assert_eq!(host.here("built:1").await.unwrap().layers.last(), Some(&made.diff_id()));

        // the containerd store needs it no more where it is unpacked on the very layers below it
        let below = if is_classic(engine) { base } else { Image::new().layer(layer(87, number, 2, Bytes(80_000))) };
        let image = below.layer(made.gzip(1).created_by("RUN make")).layer(layer(87, number, 3, Bytes(50_000)));
        let pushed = image.push(&registry, "acme/app:sha-1").unwrap();
        let (plan, pull) = foretold(&host, &registry, "sha-1", &pushed).await;
        let estimate = kept(&pull);
        let (least, most) = (plan.estimate.fetch_bytes_least, plan.estimate.fetch_bytes_most);
        if is_classic(engine) {
            assert_eq!(words(estimate), [&[][..], &["loaded or built"], &["on top"]], "{estimate:?}");
            assert_eq!((least, most), (bytes(&pushed, &[2]), bytes(&pushed, &[1, 2])));
        } else {
            assert_eq!(words(estimate), [["never seen"], ["loaded or built"], ["never seen"]], "{estimate:?}");
            assert_eq!((least, most), (bytes(&pushed, &[0, 2]), bytes(&pushed, &[0, 1, 2])));
        }
        let told = format!("its content is here in {built}, which was loaded or built");
        assert!(said(estimate, 1).starts_with(&told), "{estimate:?}");
        assert_eq!(pull.downloaded_bytes, most, "the engine downloads what it never downloaded");
    })
    .await;
}
