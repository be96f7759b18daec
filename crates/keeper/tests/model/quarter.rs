//! Kept images of which every quarter brings another one. The keeper's clock begins at 2027-01-15T08:00:00Z.

use std::sync::atomic::Ordering;
use std::time::Duration;

use layerkeeper_core::{Digest, Expect, JobState, Series, StoreKind};
use layerkeeper_engine::Engine as _;
use layerkeeper_engine::fake::{Call, FakeImage, Fault};
use layerkeeper_keeper::{DeployRequest, KeepSeries, Refusal, Settings};
use layerkeeper_registry::Error;
use layerkeeper_store::{JobRow, Options, Store};

use crate::ground::{Ground, app, name, policy, settings};

mod gone;

/// From the clock's begin to the second quarter of 2027.
const TO_Q2: Duration = Duration::from_secs(76 * 24 * 3600);

/// `base:1`, the series, and `cache-python:1`, in this order.
fn following(quarter: Option<&str>) -> Settings {
    let series = Series {
        template: "ghcr.io/acme/app:cache-{quarter}".parse().unwrap(),
        quarter: quarter.map(|quarter| quarter.parse().unwrap()),
        pin: None,
        expect: Vec::new(),
    };
    Settings { series: vec![KeepSeries { series, after: 1, schedule: None }], ..settings(policy()) }
}

fn cache(quarter: &str) -> FakeImage {
    FakeImage::new(quarter, &[("os", 50_000_000), (quarter, 200_000_000)])
}

fn of(quarter: &str) -> String {
    format!("app:cache-{quarter}")
}

fn publish(ground: &Ground, quarter: &str) -> Digest {
    ground.publish(&of(quarter), &cache(quarter))
}

/// A keeper that is at the first quarter of 2027, and has nothing to do.
async fn at_q1(store: Store) -> Ground {
    let ground = Ground::told(StoreKind::Graphdriver, following(None), store).await;
    publish(&ground, "2027q1");
    ground
        .until("it keeps the first quarter", async |ground| is_at(ground, &["2027q1"]).await && idle(ground).await)
        .await;
    ground
}

async fn in_memory() -> Ground {
    at_q1(Store::open_in_memory(Options::default()).unwrap()).await
}

/// The quarters kept, and whether each is here.
async fn kept(ground: &Ground) -> Vec<(String, bool)> {
    let kept = ground.keeper.status().await.kept;
    let quarter = |image: &str| image.strip_prefix("ghcr.io/acme/app:cache-").map(str::to_owned);
    kept.iter().filter_map(|kept| Some((quarter(&kept.image)?, kept.present))).collect()
}

/// Are these quarters kept, and all of them here?
async fn is_at(ground: &Ground, quarters: &[&str]) -> bool {
    kept(ground)
        .await
        .iter()
        .map(|(quarter, here)| (&**quarter, *here))
        .eq(quarters.iter().map(|quarter| (*quarter, true)))
}

async fn idle(ground: &Ground) -> bool {
    let status = ground.keeper.status().await;
    status.ready && status.running.is_none() && status.queued == 0
}

/// Refreshes one of the kept images, as its schedule would.
async fn warm(ground: &Ground, quarter: &str) -> JobRow {
    let answers = ground.keeper.prewarm(&[name(&of(quarter))], 0).await.unwrap();
    ground.end(&answers[0].job.id).await
}

/// Has the engine begun to pull the second quarter's image?
async fn pulls_q2(ground: &Ground) -> bool {
    let by_digest = name("app:x").repository.by_digest(cache("2027q2").resolved());
    ground.engine.log().iter().any(|call| matches!(call, Call::Pull { reference, .. } if *reference == by_digest))
}

async fn events(ground: &Ground) -> Vec<String> {
    let events = ground.keeper.events(50).await.unwrap();
    events.into_iter().filter(|event| event.kind == "quarter").map(|event| event.message).collect()
}

#[tokio::test]
async fn a_new_quarter_that_is_at_the_registry_takes_the_place_of_the_old_one_which_stays_here() {
    let ground = in_memory().await;
    let file: Vec<String> = ground.keeper.status().await.kept.iter().map(|kept| kept.image.clone()).collect();
    assert_eq!(
        file,
        [name("base:1"), name(&of("2027q1")), name("cache-python:1")].map(|name| name.to_string()),
        "as in the file"
    );
    let new = publish(&ground, "2027q2");
    let early = warm(&ground, "2027q1").await;
    assert!(
        early.outcome.kept.is_empty() && is_at(&ground, &["2027q1"]).await,
        "it has not begun: {:?}",
        early.outcome
    );
    ground.wind(TO_Q2);
    let row = warm(&ground, "2027q1").await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    let brought: Vec<_> = row.outcome.kept.iter().map(|pull| (&*pull.image, pull.digest.as_deref())).collect();
    assert_eq!(brought, [(&*name(&of("2027q2")).to_string(), Some(&*new.to_string()))], "in the same job");
    assert!(row.outcome.summary.contains("cache-2027q2: moved 200 MB"), "{}", row.outcome.summary);
    assert!(is_at(&ground, &["2027q2"]).await, "{:?}", kept(&ground).await);
    let status = ground.keeper.status().await;
    let first = &status.kept[1];
    assert_eq!(first.series.as_deref(), Some("ghcr.io/acme/app:cache-{quarter}"));
    assert_eq!(first.left_here, [name(&of("2027q1")).to_string()], "here, and not ours to remove");
    let told = events(&ground).await;
    assert!(
        told[0].contains("takes the place") && told[0].contains("`docker rmi ghcr.io/acme/app:cache-2027q1`"),
        "{told:?}"
    );
    // what an operator removes now stays away
    ground.engine.foreign_remove(&name(&of("2027q1")).to_reference()).unwrap();
    ground
        .until("it is no longer told", async |ground| ground.keeper.status().await.kept[1].left_here.is_empty())
        .await;
    assert!(ground.keeper.status().await.losses.is_empty() && idle(&ground).await, "nobody brings it back");
}

#[tokio::test]
async fn a_quarter_is_left_only_where_it_is_an_earlier_one_and_the_kept_one_is_good() {
    let ground = in_memory().await;
    let kept = async |ground: &Ground| ground.keeper.status().await.kept[1].clone();
    for ahead_or_behind in ["2027q2", "2026q4"] {
        ground.engine.load(&name(&of(ahead_or_behind)), &cache(ahead_or_behind));
    }
    let earlier = [name(&of("2026q4")).to_string()];
    ground.until("what is yet to come is not left", async |ground| kept(ground).await.left_here == earlier).await;
    ground.engine.foreign_tag(&name("base:1").to_reference(), &name(&of("2027q1"))).unwrap();
    ground.until("the kept one is another", async |ground| kept(ground).await.finding == "moved locally").await;
    assert!(kept(&ground).await.left_here.is_empty(), "the earlier one may be the last good one");
}

#[tokio::test]
async fn a_quarter_that_the_registry_does_not_have_yet_comes_when_it_appears() {
    let ground = in_memory().await;
    ground.wind(TO_Q2);
    for _ in 0..2 {
        let row = warm(&ground, "2027q1").await;
        assert_eq!((row.job.state, row.outcome.warnings.len()), (JobState::Succeeded, 0), "{:?}", row.outcome);
        assert!(is_at(&ground, &["2027q1"]).await);
    }
    publish(&ground, "2027q2");
    ground.publish("app:sha-1", &app("app:sha-1"));
    let row = ground.deploy("app:sha-1", None).await;
    assert!(row.outcome.warnings.is_empty(), "{:?}", row.outcome);
    assert_eq!(row.outcome.kept[0].image, name(&of("2027q2")).to_string(), "a deploy looks for it, too");
    assert!(is_at(&ground, &["2027q2"]).await);
    let asked = ground.shelf.asked.load(Ordering::SeqCst);
    warm(&ground, "2027q2").await;
    assert_eq!(ground.shelf.asked.load(Ordering::SeqCst), asked + 1, "today's is here: nothing else is looked for");
}

#[tokio::test]
async fn one_that_fails_to_come_leaves_the_old_one_kept_and_healed() {
    let ground = in_memory().await;
    publish(&ground, "2027q2");
    ground.wind(TO_Q2);
    ground.engine.spoil_next_pull(Fault::CutAt(2));
    let row = warm(&ground, "2027q1").await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert!(row.outcome.warnings[0].contains("cache-2027q2 could not be refreshed"), "{:?}", row.outcome.warnings);
    let told = &row.outcome.summary;
    assert!(
        told.starts_with("already here; nothing moved; kept image ghcr.io/acme/app:cache-2027q2 could not"),
        "{told}"
    );
    let status = ground.keeper.status().await;
    let kept: Vec<_> = status.kept[1..3].iter().map(|kept| (&*kept.image, kept.last_error.is_some())).collect();
    let (new, old) = (name(&of("2027q2")), name(&of("2027q1")));
    assert_eq!(kept, [(&*new.to_string(), true), (&*old.to_string(), false)], "both are told, with the error");
    assert!(ground.keeper.policy().kept(&old).is_some());
    // the new one is tried again as anything that is missing
    ground.until("it came after all", async |ground| is_at(ground, &["2027q2"]).await && idle(ground).await).await;
}

#[tokio::test]
async fn while_the_new_one_cannot_come_the_old_one_is_brought_back_where_somebody_removes_it() {
    let ground = in_memory().await;
    ground.wind(TO_Q2);
    publish(&ground, "2027q2");
    ground.engine.registry().lose_blob(cache("2027q2").to_manifest().layers[1].blob.digest);
    warm(&ground, "2027q1").await;
    ground.until("both are kept", async |ground| kept(ground).await.len() == 2).await;
    ground.engine.foreign_remove(&name(&of("2027q1")).to_reference()).unwrap();
    let back =
        async |ground: &Ground| kept(ground).await == [("2027q2".to_owned(), false), ("2027q1".to_owned(), true)];
    ground.until("the old one is back", back).await;
}

#[tokio::test]
async fn a_registry_that_gives_no_answer_changes_nothing() {
    let ground = in_memory().await;
    publish(&ground, "2027q2");
    publish(&ground, "2026q4");
    ground.wind(TO_Q2);
    let trouble =
        Error::Server { registry: "ghcr.io".to_owned(), status: 500, retry_after: None, detail: Default::default() };
    *ground.shelf.trouble.lock().unwrap() = Some(trouble);
    let row = warm(&ground, "2027q1").await;
    assert_eq!(row.job.state, JobState::Failed, "its own refresh failed, too: {:?}", row.outcome);
    let told = &row.outcome.warnings;
    assert!(told.iter().any(|told| told.contains("could be looked for")), "silence is not an answer: {told:?}");
    assert!(is_at(&ground, &["2027q1"]).await, "{:?}", kept(&ground).await);
    *ground.shelf.trouble.lock().unwrap() = None;
    warm(&ground, "2027q1").await;
    assert!(is_at(&ground, &["2027q2"]).await);
}

#[tokio::test]
async fn where_the_daemon_cannot_reach_the_registry_the_engine_is_asked() {
    let ground = in_memory().await;
    ground.wind(TO_Q2);
    ground.shelf.down.store(true, Ordering::SeqCst);
    let row = warm(&ground, "2027q1").await;
    assert_eq!((row.job.state, row.outcome.warnings.len()), (JobState::Succeeded, 0), "{:?}", row.outcome);
    publish(&ground, "2027q2");
    warm(&ground, "2027q1").await;
    assert!(is_at(&ground, &["2027q2"]).await, "{:?}", kept(&ground).await);
}

#[tokio::test]
async fn a_restart_knows_which_quarter_it_was_at_and_goes_on() {
    let store = Store::open_in_memory(Options::default()).unwrap();
    let ground = at_q1(store.clone()).await;
    // killed in the middle of the pull of the new one
    publish(&ground, "2027q2");
    ground.wind(TO_Q2);
    ground.engine.spoil_next_pull(Fault::HangAt(3));
    ground.keeper.prewarm(&[name(&of("2027q1"))], 0).await.unwrap();
    ground.until("the pull has begun", pulls_q2).await;
    // with a registry that says nothing, the new daemon keeps what the old one had
    ground.shelf.down.store(true, Ordering::SeqCst);
    ground.engine.registry().make_unreachable("ghcr.io");
    let again = ground.restarted_with(store, following(None)).await;
    again.until("it has looked", async |ground| ground.keeper.status().await.ready).await;
    assert!(is_at(&again, &["2027q1"]).await, "{:?}", kept(&again).await);
}

#[tokio::test]
async fn going_back_is_one_line_and_forward_again_without_it() {
    let ground = in_memory().await;
    publish(&ground, "2026q4");
    ground.keeper.reload(following(Some("2026q4")));
    ground.until("it went back", async |ground| is_at(ground, &["2026q4"]).await && idle(ground).await).await;
    let told = events(&ground).await;
    assert!(told[0].contains("takes the place of ghcr.io/acme/app:cache-2027q1"), "{told:?}");
    let left = &ground.keeper.status().await.kept[1].left_here;
    assert_eq!(*left, [name(&of("2027q1")).to_string()], "it was kept once");
    // neither a refresh nor a deploy goes on
    ground.publish("app:sha-1", &app("app:sha-1"));
    ground.deploy("app:sha-1", None).await;
    warm(&ground, "2026q4").await;
    assert!(is_at(&ground, &["2026q4"]).await);
    ground.keeper.reload(following(None));
    ground.until("it went on", async |ground| is_at(ground, &["2027q1"]).await && idle(ground).await).await;
}

#[tokio::test]
async fn going_back_to_a_quarter_that_does_not_come_keeps_what_is_here() {
    let ground = in_memory().await;
    ground.keeper.reload(following(Some("2026q2")));
    let both =
        async |ground: &Ground| kept(ground).await == [("2026q2".to_owned(), false), ("2027q1".to_owned(), true)];
    ground.until("both are kept", both).await;
    let failed =
        async |ground: &Ground| ground.keeper.status().await.kept[1].last_error.is_some() && idle(ground).await;
    ground.until("it says why", failed).await;
    assert!(both(&ground).await);
}

#[tokio::test]
async fn a_webhook_for_a_quarter_warms_its_series_and_one_that_is_not_kept_is_refused_with_what_to_do() {
    let ground = in_memory().await;
    ground.wind(TO_Q2);
    let deploy = async |quarter: &str| {
        let request = DeployRequest { image: name(&of(quarter)), digest: None, over_limit: false };
        ground.keeper.deploy(request, 0).await
    };
    let refused = async |quarter: &str| match deploy(quarter).await {
        Err(Refusal::Policy(why)) => why,
        other => panic!("{other:?}"),
    };
    let early = deploy("2027q2").await.unwrap();
    let row = ground.end(&early.job.id).await;
    assert_eq!(
        row.outcome.error.map(|error| error.class).as_deref(),
        Some("not_found"),
        "asked for by name, and not there"
    );
    assert!(is_at(&ground, &["2027q1"]).await);
    let digest = publish(&ground, "2027q2");
    let said = Digest::of(b"another");
    let request = DeployRequest { image: name(&of("2027q2")), digest: Some(said), over_limit: false };
    let row = ground.end(&ground.keeper.deploy(request, 0).await.unwrap().job.id).await;
    assert_eq!((row.job.state, row.outcome.digest), (JobState::Succeeded, Some(digest.to_string())));
    let told = &row.outcome.warnings;
    assert!(told.iter().any(|told| told.contains(&format!("was said to be {said}, and is not"))), "{told:?}");
    assert_eq!(row.outcome.pull.unwrap().image, name(&of("2027q2")).to_string(), "the job's own image");
    assert!(is_at(&ground, &["2027q2"]).await);
    assert!(refused("2027q3").await.contains("2027q3 has not begun, it is 2027q2"));
    let old = refused("2027q1").await;
    assert!(old.contains("`layerkeeper pin ghcr.io/acme/app:cache-2027q1 --quarter 2027q1`"), "{old}");
    assert!(ground.keeper.prewarm(&[name(&of("2027q1"))], 0).await.is_err());
    let template = "ghcr.io/acme/app:cache-{quarter}".parse().unwrap();
    assert_eq!(ground.keeper.names(&template).unwrap(), [name(&of("2027q2"))]);
    assert!(ground.keeper.names(&"ghcr.io/acme/other:{quarter}".parse().unwrap()).is_err());
    ground.keeper.reload(following(Some("2027q2")));
    assert!(refused("2027q1").await.contains("stays at quarter = \"2027q2\""));
}

/// Both were due at the same instant, and the new one came first.
#[tokio::test]
async fn a_job_for_a_quarter_that_is_kept_no_more_says_so_and_fails_nothing() {
    let ground = in_memory().await;
    publish(&ground, "2027q2");
    ground.wind(TO_Q2);
    ground.engine.spoil_next_pull(Fault::HangAt(3));
    let new = ground.keeper.prewarm(&[name(&of("2027q2"))], 0).await.unwrap();
    let old = ground.keeper.prewarm(&[name(&of("2027q1"))], 0).await.unwrap();
    ground.until("the pull has begun", pulls_q2).await;
    ground.engine.release();
    assert_eq!(ground.end(&new[0].job.id).await.job.state, JobState::Succeeded);
    let row = ground.end(&old[0].job.id).await;
    assert_eq!(row.job.state, JobState::Succeeded, "{:?}", row.outcome);
    assert!(row.outcome.warnings[0].contains("cache-2027q1 is not kept now"), "{:?}", row.outcome);
}

#[tokio::test]
async fn a_new_quarter_that_is_not_as_expected_gets_no_name_and_the_old_one_stays_kept() {
    let ground = in_memory().await;
    let mut expecting = following(None);
    expecting.series[0].series.expect = vec![Expect::File { path: "/data/2027q1/0000.bin".to_owned() }];
    ground.keeper.reload(expecting);
    ground.until("what is here is held to it", async |ground| idle(ground).await).await;
    publish(&ground, "2027q2");
    ground.wind(TO_Q2);
    let row = warm(&ground, "2027q1").await;
    assert!(row.outcome.warnings[0].contains("file /data/2027q1/0000.bin is not there"), "{:?}", row.outcome.warnings);
    let named = ground.engine.inventory().await.unwrap().named(&name(&of("2027q2"))).is_some();
    assert!(!named, "its name was not made");
    assert_eq!(kept(&ground).await, [("2027q2".to_owned(), false), ("2027q1".to_owned(), true)]);
}
