//! 9: webhooks come late, early, twice, from a clock that is off, and from somebody who recorded one.

use std::time::Duration;

use layerkeeper_core::Bytes;
use layerkeeper_keeper::{Clock, SystemClock};
use layerkeeper_testkit::{Access, Agent, Auth, EngineKind, Engines, Image, Layer, Registry};
use layerkeeper_tests::daemon::Daemon;
use serde_json::Value;

fn id_of(body: &str) -> String {
    let answer: Value = serde_json::from_str(body).unwrap();
    answer["id"].as_str().unwrap().to_owned()
}

#[test]
fn field_failure_09_the_webhook_comes_late_early_twice_and_again() {
    let engine = Engines::of(EngineKind::A);
    let registry = Registry::start(Auth::Open).unwrap();
    let daemon = Daemon::up(
        &engine.host(),
        &format!(
            "[disk]\nmin_free = \"1 MB\"\n[[runtime]]\nrepository = \"{}/acme/app\"\nprune_tags = [\"sha-*\"]\n",
            registry.host()
        ),
    );
    let mark = registry.mark();
    let image = |n| format!("{}/acme/app:sha-{n}", registry.host());
    let now = SystemClock.now().seconds();
    for (id, off) in [("skew-1", -301), ("skew-2", 301), ("skew-3", -86_400), ("skew-4", 86_400)] {
        let (status, body) = daemon.post_at(id, &image(1), now + off);
        assert_eq!(status, 401, "{off}: {body}");
        assert!(body.contains("server"), "a 401 for skew states the server's time: {body}");
    }
    assert_eq!(daemon.json("/v1/jobs").as_array().unwrap().len(), 0, "nothing was queued");

    // it comes before the tag can be seen
    let asked = std::time::Instant::now();
    let (status, body) = daemon.post("early", &image(1));
    assert_eq!(status, 202, "{body}");
    assert!(asked.elapsed() < Duration::from_secs(2), "the sender gives up after ten seconds");
    let first = id_of(&body);
    // one push fires three events, and a sender tries again
    assert_eq!(id_of(&daemon.post("early", &image(1)).1), first, "the same request again");
    let (status, body) = daemon.post("twice", &image(1));
    assert_eq!(status, 202, "{body}");
    let second = id_of(&body);
    assert_eq!(daemon.post("early", &image(2)).0, 409, "an id with another body");
    let layer = Layer::random(9900, Bytes(90_000)).unwrap();
    let pushed = Image::new().layer(layer).push(&registry, "acme/app:sha-1").unwrap();
    // it joins the first where that waits in this moment, and takes its place where it was just being tried
    let ends = [&first, &second].map(|id| daemon.end_of(id)["state"].as_str().unwrap().to_owned());
    assert!(ends[1] == "succeeded" && matches!(&*ends[0], "succeeded" | "superseded"), "{ends:?}");
    let layer = pushed.layer_digests().iter().next().copied();
    let by_engine = |access: &&Access| access.agent() == Agent::Engine && access.method == "GET";
    let accesses = registry.accesses(mark);
    let pulls = accesses.iter().filter(by_engine).filter(|access| access.blob() == layer).count();
    assert_eq!(pulls, 1, "one push, one pull");
    // somebody plays the recorded request again, within its time
    assert_eq!(id_of(&daemon.post("early", &image(1)).1), first, "nothing new comes of it");
}
