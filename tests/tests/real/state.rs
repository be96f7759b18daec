//! The sequences that the fake engine lives through in the keeper's own state test, on real engines: after every step both
//! must have come to the same state.
//!
//! `LAYERKEEPER_STATE_SEED` is the number of another sequence.

#[path = "../../../crates/keeper/tests/state/builds.rs"]
mod builds;
#[path = "../../../crates/keeper/tests/state/calm.rs"]
mod calm;
#[path = "../../../crates/keeper/tests/state/happen.rs"]
mod happen;
#[path = "../../../crates/keeper/tests/state/jobs.rs"]
mod jobs;
#[path = "../../../crates/keeper/tests/state/ledger.rs"]
mod ledger;
#[path = "../../../crates/keeper/tests/state/operation.rs"]
mod operation;
#[path = "../../../crates/keeper/tests/state/outside.rs"]
mod outside;
#[path = "../../../crates/keeper/tests/state/pace.rs"]
mod pace;
#[path = "../../../crates/keeper/tests/state/pulled.rs"]
mod pulled;
#[path = "../../../crates/keeper/tests/state/removal.rs"]
mod removal;
mod server;
#[path = "../../../crates/keeper/tests/shared/settings.rs"]
mod settings;
mod shelf;
#[path = "../../../crates/keeper/tests/state/shorten.rs"]
mod shorten;
mod snapshot;
#[path = "../../../crates/keeper/tests/state/trouble.rs"]
#[allow(dead_code, reason = "a real engine has no trouble on demand")]
mod trouble;
#[path = "../../../crates/keeper/tests/state/witness.rs"]
mod witness;
#[path = "../../../crates/keeper/tests/state/world.rs"]
mod world;

use std::collections::HashSet;
use std::time::Duration;

use layerkeeper_keeper::Clock as _;
use layerkeeper_testkit::EngineKind;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use operation::{Operation, Wish};
use server::Server;
use snapshot::{Labels, Snapshot};
use trouble::{Event, Patience, Step};
use world::World;

const STEPS: usize = 60;

/// What there was after a step, and how much time had passed.
struct Seen {
    operation: Operation,
    snapshot: Snapshot,
    passed: Duration,
}

/// A sequence that both engines can live through, and then the calm end: no container is left, what is old enough goes, and
/// all that is kept comes. What was never built is built before it is deployed: a tag that is not there is waited for, and
/// how long depends on the machine.
fn sequence(seed: u64) -> Vec<Operation> {
    let config = Config { rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let mut built = HashSet::new();
    let mut operations = Vec::new();
    for _ in 0..STEPS {
        let mut operation = operation::operation().new_tree(&mut runner).unwrap().current();
        if let Operation::Deploy(version, wish) = operation
            && !built.contains(&version)
        {
            operation = Operation::Ship(version, wish != Wish::Tag);
        }
        if let Operation::Build(version) | Operation::Ship(version, _) = operation {
            built.insert(version);
        }
        operations.push(operation);
    }
    let created = operations.iter().filter(|operation| matches!(operation, Operation::Create(_))).count();
    operations.extend((0..created).map(|_| Operation::Drop(0)));
    // somebody's container may have kept it from coming
    operations.extend([Operation::Prewarm(None), Operation::Pass(199), Operation::Ship(0, true), Operation::Pass(199)]);
    operations
}

/// How the fake lives through it.
fn on_the_fake(operations: Vec<Operation>, kind: EngineKind) -> Vec<Seen> {
    pace::stand_still(async {
        let mut world = World::new(kind.store()).await;
        let begun = world.clocks.now();
        world.until_idle().await;
        let (steps, mut seen) = (operations.len(), Vec::new());
        for operation in operations {
            world.step(&Step { event: Event::Does(operation), then: Patience::UntilIdle }).await;
            all_is_well(&world).await;
            assert_eq!(world.under_way().await, (0, 0), "{}", world.log.join("\n"));
            let snapshot = of_the_fake(&world, seen.len() + 1 == steps).await;
            seen.push(Seen { operation, snapshot, passed: world.clocks.now() - begun });
        }
        world.calm().await;
        all_is_well(&world).await;
        seen
    })
}

async fn all_is_well(world: &World) {
    let wrong = world.ledger.lock().unwrap().wrong.join("\n");
    assert!(wrong.is_empty(), "{wrong}\n\n{}\n\n{}", world.log.join("\n"), world.record().await);
}

async fn of_the_fake(world: &World, all: bool) -> Snapshot {
    let mut labels = Labels::default();
    let mut asked: Vec<_> = shelf::names().map(|name| builds::full(name).to_reference()).collect();
    for name in shelf::names() {
        for image in (0..world.built.get(&name).copied().unwrap_or_default()).map(|n| builds::build(name, n)) {
            labels.add(&image.label, image.resolved(), image.manifest_digest(), image.config_digest());
            asked.extend(all.then(|| builds::full(name).repository.by_digest(image.resolved())));
        }
    }
    Snapshot::of(&world.fake, &asked, &world.containers, &world.keeper, &labels).await
}

async fn both_come_to_the_same_state(kind: EngineKind, usual: u64) {
    let other = std::env::var("LAYERKEEPER_STATE_SEED").ok().map(|text| text.parse().unwrap());
    let seed = other.unwrap_or(usual);
    let operations = sequence(seed);
    let fake = tokio::task::spawn_blocking(move || on_the_fake(operations, kind)).await.unwrap();
    let mut server = Server::start(kind).await;
    server.until_idle().await;
    let mut story = format!("{kind:?}, seed {seed}:\n");
    for (n, Seen { operation, snapshot, passed }) in fake.iter().enumerate() {
        story.push_str(&format!("{:3} {operation:?}\n", n + 1));
        server.does(*operation).await;
        // neither keeper nor engine hears of what is only pushed
        if !matches!(operation, Operation::Build(_) | Operation::Move(_)) {
            server.until_idle().await;
        }
        let found = server.snapshot(n + 1 == fake.len()).await;
        assert!(found == *snapshot, "{story}\n{}\n{found:#?}", snapshot.differs_from(&found));
        server.catch_up(*passed);
    }
    if other.is_some() {
        return;
    }
    // all that should has happened, or the sequence shows nothing
    let end = &fake.last().unwrap().snapshot;
    let words = [&["deploy", "downloaded"][..], &["deploy", "reused"], &["heal"], &["warm"], &["prune"], &["removed"]];
    for words in words {
        assert!(end.count(&[&["job"], words].concat()) > 0, "no {words:?} in {end:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_engine_20_come_to_the_same_state() {
    both_come_to_the_same_state(EngineKind::A, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_engine_26_come_to_the_same_state() {
    both_come_to_the_same_state(EngineKind::B, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fake_and_engine_26_with_the_containerd_store_come_to_the_same_state() {
    both_come_to_the_same_state(EngineKind::C, 3).await;
}
