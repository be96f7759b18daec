//! What a copied layer repeats, and what was made to read images by.

use std::time::Duration;

use layerkeeper_core::{Bytes, ContainerState, DiffId, StoreKind};
use layerkeeper_engine::Engine as _;
use layerkeeper_engine::fake::{FakeImage, FakeLayer};
use layerkeeper_store::{Options, Repeated, Store};

use crate::ground::{Ground, app, name, policy};

const COPY: &str = "COPY --from=python-deps /opt/venv /opt/venv # buildkit";
/// All that a fake layer of a megabyte on the wire holds.
const HOLDS: usize = 3_000_000;

fn os() -> FakeLayer {
    FakeLayer::new("os", 50_000_000).with_files(&[("/opt/venv/base", "base")])
}

/// A layer of these files, a megabyte on the wire.
fn layer(content: &str, files: &[(&str, &str)]) -> FakeLayer {
    FakeLayer::new(content, 1_000_000).with_files(files)
}

async fn ground(store: &Store, python: &[(&str, &str)]) -> Ground {
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    ground.publish("base:1", &FakeImage::of_layers("base", vec![os()]));
    ground.publish("cache-python:1", &FakeImage::of_layers("python", vec![os(), layer("venv", python)]));
    for tag in ["base:1", "cache-python:1"] {
        ground.here(tag).await;
    }
    ground
}

/// Deploys an image whose layers these are.
async fn ship(ground: &Ground, tag: &str, layers: &[&FakeLayer]) {
    let layers = [&os()].into_iter().chain(layers.iter().copied()).cloned().collect();
    ground.publish(tag, &FakeImage::of_layers(tag, layers));
    let row = ground.deploy(tag, None).await;
    assert!(row.outcome.error.is_none(), "{:?}", row.outcome);
}

/// What was measured of a layer, once it was.
async fn measured(ground: &Ground, store: &Store, layer: DiffId) -> Vec<Repeated> {
    ground.until("it is measured", async |_| !of(store, layer).await.is_empty()).await;
    of(store, layer).await
}

/// Against cache-python.
async fn of(store: &Store, layer: DiffId) -> Vec<Repeated> {
    let mut rows = store.repeats(layer, String::new(), None).await.unwrap();
    rows.retain(|row| row.image.ends_with("cache-python:1"));
    rows
}

/// Is it foretold of a build of `layer` that nobody has?
async fn foretold(ground: &Ground, layer: &FakeLayer) -> bool {
    ground.publish("app:sha-next", &FakeImage::of_layers("next", vec![os(), layer.clone()]));
    let plan = ground.keeper.plan(&name("app:sha-next").to_reference()).await.unwrap();
    plan.estimate.layers[1].causes.iter().any(|cause| cause.cause == "repeats files")
}

#[tokio::test]
async fn what_a_copy_repeats_is_foretold_until_the_next_one_repeats_nothing() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = ground(&store, &[("/opt/venv/torch.so", "torch"), ("/opt/venv/a.pyc", "1")]).await;
    let copied = layer("copied", &[("/opt/venv/torch.so", "torch"), ("/opt/venv/a.pyc", "2")]).made_by(COPY);
    ship(&ground, "app:sha-1", &[&copied]).await;
    let rows = measured(&ground, &store, copied.diff_id).await;
    let found: Vec<_> = rows.iter().map(|row| (row.image.as_str(), row.repeated, row.total, row.files)).collect();
    assert_eq!(found, [("ghcr.io/acme/cache-python:1", Bytes(5), Bytes(6), 2)]);
    let next = layer("next", &[]).made_by(COPY);
    assert!(foretold(&ground, &next).await);
    let other = layer("other", &[("/opt/venv/torch.so", "jax")]).made_by(COPY);
    ship(&ground, "app:sha-2", &[&other]).await;
    assert_eq!(measured(&ground, &store, other.diff_id).await[0].repeated, Bytes(0));
    assert!(!foretold(&ground, &next).await, "the last one repeated nothing");
    assert!(ground.engine.inventory().await.unwrap().containers.is_empty());
}

/// The advice was followed: the next build stands on the kept image.
#[tokio::test]
async fn it_is_foretold_no_more_once_the_build_stands_on_the_kept_image() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let mut one = policy();
    one.keep.remove(0);
    let ground = Ground::over(StoreKind::Graphdriver, one, store.clone()).await;
    let venv = [("/opt/venv/torch.so", "torch")];
    let python = [os(), layer("venv", &venv)];
    ground.publish("cache-python:1", &FakeImage::of_layers("python", python.to_vec()));
    ground.here("cache-python:1").await;
    let copied = layer("copied", &venv).made_by(COPY);
    ship(&ground, "app:sha-1", &[&copied]).await;
    assert!(measured(&ground, &store, copied.diff_id).await[0].repeated > Bytes(0));
    let next = layer("next", &[]).made_by(COPY);
    assert!(foretold(&ground, &next).await);
    // it still copies something there
    let more = layer("more", &[("/opt/venv/more", "x")]).made_by(COPY);
    ship(&ground, "app:sha-2", &[&python[1], &more]).await;
    let rows = measured(&ground, &store, more.diff_id).await;
    assert_eq!((rows.len(), rows[0].repeated_files), (1, 0), "{rows:?}");
    assert!(!foretold(&ground, &next).await);
}

/// Such as by `docker container prune`: first what the layer's files are read through, then the base, then the kept image.
#[tokio::test]
async fn a_container_that_somebody_removes_in_mid_study_makes_it_begin_anew() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = ground(&store, &[("/opt/venv/torch.so", "torch")]).await;
    for lost in 0..3 {
        let lose: Vec<bool> = (0..=lost).map(|at| at == lost).collect();
        ground.engine.lose_opened(&lose);
        let content = format!("copied {lost}");
        let copied = layer(&content, &[("/opt/venv/torch.so", "torch"), ("/opt/venv/a", "12")]).made_by(COPY);
        ship(&ground, &format!("app:sha-{lost}"), &[&copied]).await;
        let rows = measured(&ground, &store, copied.diff_id).await;
        assert_eq!((rows[0].repeated, rows[0].total), (Bytes(5), Bytes(7)), "{lost}: {rows:?}");
    }
}

/// The kept image has a file where the layer has a folder.
#[tokio::test]
async fn a_kept_image_with_a_file_above_the_place_has_none_of_the_layers_files() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = ground(&store, &[("/srv", "torch")]).await;
    let copied = layer("copied", &[("/srv/venv/torch.so", "torch")]);
    let copied = copied.made_by("COPY --from=python-deps /srv/venv /srv/venv # buildkit");
    ship(&ground, "app:sha-1", &[&copied]).await;
    let rows = measured(&ground, &store, copied.diff_id).await;
    assert_eq!((rows[0].repeated, rows[0].total), (Bytes(0), Bytes(5)), "{rows:?}");
}

/// A small layer that is copied beside a large one: what both put there is more than the small one can hold.
#[tokio::test]
async fn files_that_another_layer_put_at_the_same_place_are_not_the_layers() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let modules = "x".repeat(HOLDS);
    let ground = ground(&store, &[("/app/node_modules/a.js", &modules)]).await;
    let dist = layer("dist", &[("/app/index.html", "<html>")]).made_by("COPY --from=web /dist /app # buildkit");
    let deps = layer("deps", &[("/app/node_modules/a.js", &modules)]);
    let deps = deps.made_by("COPY --from=deps /app/node_modules /app/node_modules # buildkit");
    ship(&ground, "app:sha-1", &[&dist, &deps]).await;
    let rows = measured(&ground, &store, dist.diff_id).await;
    assert_eq!((rows[0].repeated, rows[0].total), (Bytes(0), Bytes(0)), "nothing can be said of it: {rows:?}");
    let rows = measured(&ground, &store, deps.diff_id).await;
    assert_eq!((rows[0].repeated, rows[0].total), (Bytes(HOLDS as u64), Bytes(HOLDS as u64)), "{rows:?}");
}

#[tokio::test]
async fn a_job_that_becomes_due_ends_a_study_that_stalls_and_the_third_time_for_good() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let owner = store.owner().await.unwrap();
    let ground = ground(&store, &[("/opt/venv/torch.so", "torch")]).await;
    ground.engine.stall_archives(true);
    let stalled = layer("stalled", &[("/opt/venv/torch.so", "torch")]).made_by(COPY);
    ship(&ground, "app:sha-1", &[&stalled]).await;
    let reads = async |ground: &Ground| ground.engine.left_open(&owner).await.unwrap().len() == 1;
    ground.until("the study has begun", reads).await;
    // the tag is not there yet: this job waits for its time, again and again, and each time it is due in mid-study
    let waits = ground.ask(&name("app:sha-2")).await;
    let attempts = async || ground.keeper.job(&waits).await.unwrap().unwrap().job.attempts;
    for round in 1..=3 {
        ground.until("the study is ended for the job", async |_| attempts().await >= round).await;
        if round < 3 {
            ground.until("the study begins anew", reads).await;
        }
    }
    let other = layer("other", &[("/opt/venv/torch.so", "torch")]).made_by(COPY);
    let image = FakeImage::of_layers("app:sha-2", vec![os(), other.clone()]);
    ground.publish("app:sha-2", &image);
    ground.end(&waits).await;
    ground.engine.stall_archives(false);
    measured(&ground, &store, other.diff_id).await;
    assert!(of(&store, stalled.diff_id).await.is_empty(), "it was before the other one, and given up");
    assert!(ground.engine.left_open(&owner).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_start_removes_what_a_crash_left_open_also_where_the_engine_is_away_then() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    ground.ship("app:sha-1").await;
    let (image, owner) = (name("app:sha-1").to_reference(), store.owner().await.unwrap());
    ground.engine.open(&image, &owner).await.unwrap();
    let other = "layerkeeper-reading-somebody else-1";
    let others = ground.engine.create_container(other, &image, ContainerState::Created);
    let running = format!("layerkeeper-reading-{owner}-running");
    ground.engine.create_container(&running, &image, ContainerState::Running);
    ground.engine.set_down(true);
    let again = ground.restarted(store).await;
    again.until("it is missed", async |ground| ground.keeper.status().await.engine.error.is_some()).await;
    again.engine.set_down(false);
    again.until("ours is gone", async |ground| ground.engine.left_open(&owner).await.unwrap().is_empty()).await;
    assert_eq!(again.engine.left_open("somebody else").await.unwrap(), [others]);
    let inventory = again.engine.inventory().await.unwrap();
    let seen: Vec<&str> = inventory.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(seen, [other, &running], "each holds its image, whoever reads by it");
}

/// Such as a container that the engine made after it had come back, of a call that was given up.
#[tokio::test]
async fn what_was_left_open_meanwhile_goes_when_the_engine_is_back() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    ground.ship("app:sha-1").await;
    let (image, owner) = (name("app:sha-1").to_reference(), store.owner().await.unwrap());
    // the first may go with what is looked for at the start
    for round in 1..=2 {
        let left = format!("layerkeeper-reading-{owner}-late{round}");
        ground.engine.create_container(&left, &image, ContainerState::Created);
        ground.engine.set_down(true);
        ground.until("it is missed", async |ground| ground.keeper.status().await.engine.error.is_some()).await;
        ground.engine.set_down(false);
        let gone = async |ground: &Ground| ground.engine.left_open(&owner).await.is_ok_and(|left| left.is_empty());
        ground.until("it is gone", gone).await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_removed_keeps_no_other_and_is_not_tried_again_and_again() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let owner = store.owner().await.unwrap();
    let ground = Ground::over(StoreKind::Graphdriver, policy(), store.clone()).await;
    ground.ship("app:sha-1").await;
    let image = name("app:sha-1").to_reference();
    let [stuck, free] = ["stuck", "free"].map(|left| {
        let left = format!("layerkeeper-reading-{owner}-{left}");
        ground.engine.create_container(&left, &image, ContainerState::Created)
    });
    ground.engine.hold_open(&stuck, true);
    let again = ground.restarted(store).await;
    let gone = async |ground: &Ground| !ground.engine.left_open(&owner).await.unwrap().contains(&free);
    again.until("the other one goes", gone).await;
    assert_eq!(again.engine.left_open(&owner).await.unwrap(), std::slice::from_ref(&stuck));
    // the start has come to its end by then
    again.ship("app:sha-2").await;
    let tried = again.engine.closes();
    // the worker looks what there is to do before each of them
    for tag in ["app:sha-3", "app:sha-4"] {
        again.ship(tag).await;
    }
    assert_eq!(again.engine.closes(), tried, "it was tried again and again");
    again.engine.hold_open(&stuck, false);
    again.engine.set_down(true);
    again.until("it is missed", async |ground| ground.keeper.status().await.engine.error.is_some()).await;
    again.engine.set_down(false);
    let gone = async |ground: &Ground| ground.engine.left_open(&owner).await.is_ok_and(|left| left.is_empty());
    again.until("it goes when the engine is back", gone).await;
}

#[tokio::test]
async fn a_stop_in_mid_study_leaves_nothing_open() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let owner = store.owner().await.unwrap();
    let mut ground = ground(&store, &[("/opt/venv/torch.so", "torch")]).await;
    ground.engine.stall_archives(true);
    ship(&ground, "app:sha-1", &[&layer("stalled", &[("/opt/venv/torch.so", "torch")]).made_by(COPY)]).await;
    let reads = async |ground: &Ground| ground.engine.left_open(&owner).await.unwrap().len() == 1;
    ground.until("the study has begun", reads).await;
    ground.stop().await;
    assert_eq!(ground.engine.left_open(&owner).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_pull_does_not_wait_long_for_its_explanation() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    ground.ship("app:sha-1").await;
    *ground.shelf.stuck.lock().unwrap() = Some(app("app:sha-1").resolved());
    let row = tokio::time::timeout(Duration::from_secs(8), ground.ship("app:sha-2")).await;
    let pull = row.expect("the registry may take ten seconds to say nothing").outcome.pull.unwrap();
    let estimate = pull.estimate.unwrap();
    assert!(estimate.layers.iter().all(|layer| layer.causes.is_empty()), "{estimate:?}");
    assert_eq!(pull.estimate_error_bytes, Some(0));
}
