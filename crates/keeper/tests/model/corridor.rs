//! The one corridor: pulls and removals never overlap, and each removal is judged once more right before its call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use layerkeeper_core::{
    Container, ContainerState, Digest, EngineInfo, Image, ImageName, Inventory, Reference, StoreKind,
};
use layerkeeper_engine::contents::{Bytestream, Kind};
use layerkeeper_engine::fake::{Call, Fake};
use layerkeeper_engine::{Engine, EngineError, EventStream, Login, PullStream, Removed};

use crate::ground::{Ground, HOUR, app, name, policy};
use layerkeeper_keeper::DeployRequest;

#[tokio::test]
async fn pulls_and_removals_never_overlap() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    for round in 0..6 {
        ground.wind(HOUR * 2);
        let tag = format!("app:sha-{round}");
        ground.publish(&tag, &app(&tag));
        let deploy = DeployRequest { image: name(&tag), digest: None, over_limit: false };
        let answer = ground.keeper.deploy(deploy, 0).await.unwrap();
        ground.keeper.prune(true, 0).await.unwrap();
        ground.keeper.prewarm(&[], 0).await.unwrap();
        ground.end(&answer.job.id).await;
    }
    let log = ground.engine.log();
    let mut pulling = None;
    let mut removed = 0;
    for call in &log {
        match call {
            Call::Pull { reference, .. } => {
                assert_eq!(pulling.replace(reference), None, "two pulls at once: {log:#?}");
            }
            Call::PullEnded { .. } => pulling = None,
            Call::Remove { .. } => {
                removed += 1;
                assert_eq!(pulling, None, "a removal in mid-pull: {log:#?}");
            }
            Call::Tag { .. } => {}
        }
    }
    assert!(removed > 0, "nothing was removed, so nothing was shown");
}

/// An engine on which somebody does something in the very moment between our plan and our removal of `app:sha-1`.
struct Sneaky {
    fake: Fake,
    armed: Arc<AtomicBool>,
    does: fn(&Fake, &Reference),
}

#[async_trait]
impl Engine for Sneaky {
    async fn ping(&self) -> Result<(), EngineError> {
        self.fake.ping().await
    }
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.fake.info().await
    }
    async fn inventory(&self) -> Result<Inventory, EngineError> {
        self.fake.inventory().await
    }
    async fn still_holds(&self, known: &Inventory) -> Result<bool, EngineError> {
        self.fake.still_holds(known).await
    }
    async fn image(&self, reference: &Reference) -> Result<Option<Image>, EngineError> {
        // the last look at the name before its removal
        if reference.to_string().ends_with("app:sha-1") && self.armed.swap(false, Ordering::SeqCst) {
            (self.does)(&self.fake, reference);
        }
        self.fake.image(reference).await
    }
    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.fake.containers().await
    }
    async fn resolve(&self, reference: &Reference, login: Option<&Login>) -> Result<Digest, EngineError> {
        self.fake.resolve(reference, login).await
    }
    async fn pull(&self, reference: &Reference, login: Option<&Login>) -> Result<PullStream, EngineError> {
        self.fake.pull(reference, login).await
    }
    async fn tag(&self, source: &Reference, name: &ImageName) -> Result<(), EngineError> {
        self.fake.tag(source, name).await
    }
    async fn remove(&self, reference: &Reference) -> Result<Removed, EngineError> {
        self.fake.remove(reference).await
    }
    async fn events(&self) -> Result<EventStream, EngineError> {
        self.fake.events().await
    }
    async fn open(&self, image: &Reference, owner: &str) -> Result<String, EngineError> {
        self.fake.open(image, owner).await
    }
    async fn archive(&self, opened: &str, path: &str) -> Result<Bytestream, EngineError> {
        self.fake.archive(opened, path).await
    }
    async fn stat(&self, opened: &str, path: &str) -> Result<Option<Kind>, EngineError> {
        self.fake.stat(opened, path).await
    }
    async fn labels(&self, reference: &Reference) -> Result<BTreeMap<String, String>, EngineError> {
        self.fake.labels(reference).await
    }
    async fn close(&self, opened: &str) -> Result<(), EngineError> {
        self.fake.close(opened).await
    }
    async fn left_open(&self, owner: &str) -> Result<Vec<String>, EngineError> {
        self.fake.left_open(owner).await
    }
}

#[tokio::test]
async fn a_container_that_appears_between_plan_and_removal_holds_its_image() {
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = armed.clone();
    let does = |fake: &Fake, reference: &Reference| {
        fake.create_container("sneaky", reference, ContainerState::Created);
    };
    let ground =
        Ground::behind(StoreKind::Graphdriver, policy(), |fake| Arc::new(Sneaky { fake, armed: trigger, does })).await;
    for tag in ["app:sha-1", "app:sha-2", "app:sha-3"] {
        ground.ship(tag).await;
    }
    // with a second tag the engine itself would let the name go: its 409 guards only the last
    let second: ImageName = "example.com/other:1".parse().unwrap();
    ground.engine.foreign_tag(&name("app:sha-1").to_reference(), &second).unwrap();
    ground.wind(HOUR * 2);
    armed.store(true, Ordering::SeqCst);
    let answer = ground.keeper.prune(false, 0).await.unwrap();
    let row = ground.end(&answer.job.id).await;
    let prune = row.outcome.prune.unwrap();
    assert!(!armed.load(Ordering::SeqCst), "the container came: {prune:?}");
    let removal = prune.removals.iter().find(|removal| removal.name.ends_with("app:sha-1")).unwrap();
    assert_eq!((removal.outcome.as_str(), removal.detail.as_str()), ("held", "container sneaky (created) holds it"));
    assert!(ground.tags().await.contains(&"sha-1".to_owned()));
}

/// What the tag left behind has no name that the policy lets go: it waits for `remove_superseded`.
#[tokio::test]
async fn a_tag_that_somebody_moves_between_plan_and_removal_stays_and_so_does_what_it_stood_for() {
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = armed.clone();
    let does = |fake: &Fake, reference: &Reference| {
        let moved = name("app:sha-1");
        assert_eq!(*reference, moved.to_reference());
        fake.foreign_tag(&name("app:sha-3").to_reference(), &moved).unwrap();
    };
    let ground =
        Ground::behind(StoreKind::Containerd, policy(), |fake| Arc::new(Sneaky { fake, armed: trigger, does })).await;
    for tag in ["app:sha-1", "app:sha-2", "app:sha-3"] {
        ground.ship(tag).await;
    }
    let first = ground.engine.image(&name("app:sha-1").to_reference()).await.unwrap().unwrap();
    ground.wind(HOUR * 2);
    armed.store(true, Ordering::SeqCst);
    let answer = ground.keeper.prune(false, 0).await.unwrap();
    let prune = ground.end(&answer.job.id).await.outcome.prune.unwrap();
    assert!(!armed.load(Ordering::SeqCst), "the tag was moved: {prune:?}");
    let ours = prune.removals.iter().filter(|removal| removal.image_id == first.id.to_string());
    let ended: Vec<_> = ours.map(|removal| (removal.outcome.as_str(), removal.detail.as_str())).collect();
    let moved = "the name stands for another image now";
    assert_eq!(ended, [("skipped", moved), ("skipped", "ghcr.io/acme/app:sha-1 did not go")], "{prune:?}");
    let inventory = ground.engine.inventory().await.unwrap();
    assert!(inventory.images.iter().any(|image| image.id == first.id), "{inventory:?}");
}
