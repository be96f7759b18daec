//! What only the fake can do: faults on demand.

use futures_util::StreamExt;
use layerkeeper_core::{ContainerState, ImageName, Reference, StoreKind};

use super::{Call, Fake, FakeImage, Fault, PullEnd};
use crate::{Engine, EngineError, EngineEvent, Login};

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

/// A fake with `r.test/app:t` in its registry.
fn published(store: StoreKind) -> (Fake, Reference) {
    let fake = Fake::new(store);
    let name = name("r.test/app:t");
    fake.registry().publish(&name, &FakeImage::new("one", &[("a", 100), ("b", 50)]));
    (fake, name.to_reference())
}

async fn pull(fake: &Fake, reference: &Reference) -> Result<usize, EngineError> {
    let mut stream = fake.pull(reference, None).await?;
    let mut lines = 0;
    while let Some(line) = stream.next().await {
        line?;
        lines += 1;
    }
    Ok(lines)
}

fn ends(fake: &Fake) -> Vec<PullEnd> {
    fake.log()
        .iter()
        .filter_map(|call| if let Call::PullEnded { end, .. } = call { Some(*end) } else { None })
        .collect()
}

#[tokio::test]
async fn faults_strike_once_and_in_order() {
    let (fake, reference) = published(StoreKind::Graphdriver);
    fake.spoil_next_pull(Fault::Refuse(EngineError::TooManyRequests("later".to_owned())));
    fake.spoil_next_pull(Fault::FailAt(3, EngineError::NoSpace("full".to_owned())));
    fake.spoil_next_pull(Fault::CutAt(1));
    assert!(matches!(pull(&fake, &reference).await, Err(EngineError::TooManyRequests(_))));
    assert!(matches!(pull(&fake, &reference).await, Err(EngineError::NoSpace(_))));
    assert_eq!(pull(&fake, &reference).await, Err(EngineError::Unfinished));
    assert_eq!(fake.image(&reference).await, Ok(None), "nothing is here after three failures");
    assert!(pull(&fake, &reference).await.is_ok());
    assert_eq!(ends(&fake), [PullEnd::Failed, PullEnd::Failed, PullEnd::Failed, PullEnd::Succeeded]);
}

#[tokio::test]
async fn a_pull_that_hangs_goes_on_when_released_and_dies_with_the_engine() {
    let (fake, reference) = published(StoreKind::Graphdriver);
    for down in [false, true] {
        fake.spoil_next_pull(Fault::HangAt(2));
        let running = tokio::spawn({
            let (fake, reference) = (fake.clone(), reference.clone());
            async move { pull(&fake, &reference).await }
        });
        while fake.log().iter().filter(|call| matches!(call, Call::Pull { .. })).count() <= usize::from(down) {
            tokio::task::yield_now().await;
        }
        if down {
            fake.set_down(true)
        } else {
            fake.release()
        }
        let result = running.await.unwrap();
        assert_eq!(matches!(result, Err(EngineError::BrokenOff(_))), down, "{result:?}");
        assert_eq!(result.is_ok(), !down, "{result:?}");
    }
    assert!(matches!(fake.inventory().await, Err(EngineError::Unreachable { .. })));
    fake.set_down(false);
    assert_eq!(fake.inventory().await.unwrap().images.len(), 1);
}

#[tokio::test]
async fn a_foreign_prune_kills_pulls_in_flight_on_the_containerd_store_only() {
    for store in [StoreKind::Graphdriver, StoreKind::Containerd] {
        let (fake, reference) = published(store);
        let mut stream = fake.pull(&reference, None).await.unwrap();
        stream.next().await.unwrap().unwrap();
        fake.foreign_prune(false);
        let mut last = None;
        while let Some(line) = stream.next().await {
            last = Some(line);
        }
        let vanished = matches!(last, Some(Err(EngineError::Vanished(_))));
        assert_eq!(vanished, store == StoreKind::Containerd, "{last:?}");
    }
}

#[tokio::test]
async fn a_foreign_prune_of_all_spares_what_containers_hold() {
    let (fake, held) = published(StoreKind::Graphdriver);
    pull(&fake, &held).await.unwrap();
    fake.create_container("web", &held, ContainerState::Exited);
    fake.preload(&name("r.test/base:1").to_reference(), &FakeImage::new("base", &[("x", 5)]));
    let mut events = fake.events().await.unwrap();
    fake.foreign_prune(true);
    let inventory = fake.inventory().await.unwrap();
    assert_eq!(inventory.images.len(), 1);
    assert!(inventory.find(&held).is_some());
    assert!(matches!(events.next().await, Some(Ok(EngineEvent::Untag { .. }))));
    assert!(matches!(events.next().await, Some(Ok(EngineEvent::Delete { .. }))));
    assert!(matches!(events.next().await, Some(Ok(EngineEvent::Prune))));
    fake.set_down(true);
    assert!(matches!(events.next().await, Some(Err(EngineError::Unreachable { .. }))));
    assert!(events.next().await.is_none(), "nothing after the break");
}

#[tokio::test]
async fn what_docker_load_brought_is_fetched_again_by_the_classic_store() {
    let (fake, reference) = published(StoreKind::Graphdriver);
    fake.load(&name("r.test/loaded:1"), &FakeImage::new("same layers", &[("a", 100), ("b", 50)]));
    pull(&fake, &reference).await.unwrap();
    assert_eq!(fake.registry().served().len(), 2);
}

#[tokio::test]
async fn a_flipped_store_hides_and_another_engine_has_nothing() {
    let (fake, reference) = published(StoreKind::Graphdriver);
    pull(&fake, &reference).await.unwrap();
    let before = fake.info().await.unwrap();
    fake.flip_store(StoreKind::Containerd);
    let flipped = fake.inventory().await.unwrap();
    assert!(
        flipped.images.is_empty() && flipped.engine.id == before.id && flipped.engine.instance() != before.instance()
    );
    fake.flip_store(StoreKind::Graphdriver);
    assert_eq!(fake.inventory().await.unwrap().images.len(), 1);
    fake.replace("OTHER");
    let replaced = fake.inventory().await.unwrap();
    assert!(replaced.images.is_empty() && replaced.engine.id == "OTHER");
}

#[tokio::test]
async fn credentials_are_checked_and_only_the_user_is_logged() {
    let (fake, reference) = published(StoreKind::Containerd);
    let login = |password: &str| Login {
        username: "ci".to_owned(),
        password: password.to_owned(),
        identity_token: None,
        registry_token: None,
        server_address: "r.test".to_owned(),
    };
    fake.registry().require(login("right"));
    assert!(matches!(fake.pull(&reference, Some(&login("wrong"))).await, Err(EngineError::Denied(_))));
    assert!(matches!(fake.resolve(&reference, None).await, Err(EngineError::Denied(_))));
    assert!(fake.pull(&reference, Some(&login("right"))).await.is_ok());
    let log = format!("{:?}", fake.log());
    assert!(log.contains("ci") && !log.contains("right") && !log.contains("wrong"), "{log}");
}

#[tokio::test]
async fn a_spoiled_removal_removes_nothing() {
    let (fake, reference) = published(StoreKind::Graphdriver);
    pull(&fake, &reference).await.unwrap();
    fake.spoil_next_removal(EngineError::Other("busy".to_owned()));
    assert!(fake.remove(&reference).await.is_err());
    assert!(fake.remove(&reference).await.is_ok());
    let done: Vec<bool> = fake
        .log()
        .iter()
        .filter_map(|call| if let Call::Remove { done, .. } = call { Some(*done) } else { None })
        .collect();
    assert_eq!(done, [false, true]);
}
