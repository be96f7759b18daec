//! Quarters that are not there yet, gone again, forgotten, or kept once more.

use std::time::Duration;

use layerkeeper_core::{JobState, StoreKind};
use layerkeeper_engine::Engine as _;
use layerkeeper_keeper::KeepSchedule;
use layerkeeper_registry::Error;
use layerkeeper_store::{Options, Store};

use super::{TO_Q2, cache, events, following, idle, in_memory, is_at, kept, of, publish, warm};
use crate::ground::{Ground, name};

#[tokio::test]
async fn a_quarter_that_vanished_at_the_registry_stays_kept_while_it_is_here() {
    let ground = in_memory().await;
    publish(&ground, "2026q4");
    ground.engine.registry().remove_tag(&name(&of("2027q1")));
    let row = warm(&ground, "2027q1").await;
    assert_eq!(row.job.state, JobState::Failed, "{:?}", row.outcome);
    ground.wind(TO_Q2);
    warm(&ground, "2027q1").await;
    assert!(is_at(&ground, &["2027q1"]).await, "{:?}", kept(&ground).await);
    // taken by mistake: gone here, too, it is nothing to hold on to
    ground.engine.foreign_remove(&name(&of("2027q1")).to_reference()).unwrap();
    ground.until("the newest that there is", async |ground| is_at(ground, &["2026q4"]).await).await;
    let told = events(&ground).await;
    assert!(told[0].ends_with("cache-2027q1, which is kept no more"), "{told:?}");
}

#[tokio::test]
async fn a_new_server_takes_the_newest_that_there_is_and_says_what_it_looked_for_where_there_is_none() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::told(StoreKind::Containerd, following(None), store).await;
    // and the job that found out has ended: when it is tried again counts from then on
    let told = async |ground: &Ground| ground.keeper.status().await.kept[1].last_error.is_some() && idle(ground).await;
    ground.until("it says that there is none", told).await;
    let status = ground.keeper.status().await;
    let error = status.kept[1].last_error.as_deref().unwrap();
    assert_eq!(error, "the registry has no ghcr.io/acme/app:cache-{quarter} of any quarter from 2025q1 to 2027q1");
    assert_eq!(kept(&ground).await, [("2027q1".to_owned(), false)], "today's stands for what is missing");
    publish(&ground, "2024q4");
    publish(&ground, "2026q2");
    ground.wind(Duration::from_secs(3600));
    // each reload looks for what is missing, once it may be tried again
    let came = async |ground: &Ground| {
        ground.keeper.reload(following(None));
        is_at(ground, &["2026q2"]).await && idle(ground).await
    };
    ground.until("it came", came).await;
    let closed = async |ground: &Ground| ground.keeper.status().await.losses.is_empty();
    ground.until("today's is not missing any more", closed).await;
}

#[tokio::test]
async fn a_new_server_that_cannot_have_what_there_is_says_so_with_its_job() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = Ground::told(StoreKind::Graphdriver, following(None), store).await;
    ground.until("it has looked", async |ground| idle(ground).await).await;
    publish(&ground, "2026q4");
    ground.engine.registry().lose_blob(cache("2026q4").to_manifest().layers[1].blob.digest);
    let row = warm(&ground, "2027q1").await;
    assert_eq!(row.job.state, JobState::Failed, "nothing of it is here: {:?}", row.outcome);
    assert!(row.outcome.warnings[0].contains("cache-2026q4 could not be refreshed"), "{:?}", row.outcome.warnings);
}

#[tokio::test]
async fn a_forgotten_quarter_stays_away_and_the_next_one_comes_by_its_schedule() {
    let ground = in_memory().await;
    let mut scheduled = following(None);
    scheduled.series[0].schedule = Some(KeepSchedule {
        image: name(&of("2027q1")),
        cron: "0 0 * * * *".parse().unwrap(),
        text: String::new(),
        timezone: "UTC".parse().unwrap(),
    });
    ground.keeper.reload(scheduled.clone());
    let armed = async |ground: &Ground| ground.keeper.status().await.kept[1].next_run.is_some();
    ground.until("its schedule is armed", armed).await;
    ground.keeper.forget(&name(&of("2027q1")), 0).await.unwrap();
    ground.engine.foreign_remove(&name(&of("2027q1")).to_reference()).unwrap();
    publish(&ground, "2027q2");
    ground.wind(TO_Q2);
    // wakes the schedule, which else goes by the machine's clock
    ground.keeper.reload(scheduled);
    ground.until("the next one came", async |ground| is_at(ground, &["2027q2"]).await).await;
    let seen = ground.engine.inventory().await.unwrap();
    assert!(seen.named(&name(&of("2027q1"))).is_none(), "nobody brought it back");
}

#[tokio::test]
async fn one_that_was_kept_and_removed_is_missed_by_nobody_when_it_is_kept_again() {
    let ground = in_memory().await;
    publish(&ground, "2027q2");
    ground.wind(TO_Q2);
    warm(&ground, "2027q1").await;
    ground.engine.foreign_remove(&name(&of("2027q1")).to_reference()).unwrap();
    let seen = async |ground: &Ground| ground.keeper.status().await.kept[1].left_here.is_empty();
    ground.until("that it went is seen", seen).await;
    let trouble =
        Error::Server { registry: "ghcr.io".to_owned(), status: 500, retry_after: None, detail: Default::default() };
    *ground.shelf.trouble.lock().unwrap() = Some(trouble);
    ground.keeper.reload(following(Some("2027q1")));
    let missing = async |ground: &Ground| !ground.keeper.status().await.losses.is_empty();
    ground.until("it is missing", missing).await;
    assert_eq!(ground.keeper.status().await.losses[0].cause, "never here");
    *ground.shelf.trouble.lock().unwrap() = None;
    ground.until("it is back", async |ground| is_at(ground, &["2027q1"]).await && idle(ground).await).await;
    let events = ground.keeper.events(50).await.unwrap();
    assert!(events.iter().all(|event| event.kind != "lost"), "{events:?}");
}
