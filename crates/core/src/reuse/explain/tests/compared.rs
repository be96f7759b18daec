//! With which image one that is to come is compared, and what of that is told.

use super::*;

#[test]
fn a_base_that_moved_is_named() {
    let server = server(CLASSIC)
        .with("ghcr.io/acme/cuda:1", &["os", "cudnn8"])
        .with("sha-1", &["os", "cudnn8", "torch"])
        .keeping("ghcr.io/acme/cuda:1");
    let (said, advice) = server.said(&["os", "cudnn9", "torch"], 1);
    assert!(said.ends_with("it is no longer built on ghcr.io/acme/cuda:1 as it is here"), "{said}");
    assert!(advice.unwrap().contains("layerkeeper prewarm"));
    // above the base nothing has moved
    assert!(!server.said(&["os", "cudnn8", "torch2"], 2).0.contains("no longer built"));
}

#[test]
fn a_base_whose_lowest_layer_moved_is_named_although_nothing_is_shared() {
    let with = |store| {
        server(store)
            .with("ghcr.io/acme/cuda:1", &["os1<ADD ubuntu.tar /", "cudnn1"])
            .with("sha-1", &["os1<ADD ubuntu.tar /", "cudnn1", "torch1"])
    };
    let wanted = ["os2<ADD ubuntu.tar /", "cudnn2", "torch2"];
    let kept = with(CLASSIC).keeping("ghcr.io/acme/cuda:1");
    assert_eq!(kept.words(&wanted), ["differs", "above", "above"]);
    assert_eq!(kept.explain(&wanted).compared_with.as_deref(), Some("ghcr.io/acme/app:sha-1"));
    let (said, advice) = kept.said(&wanted, 0);
    assert_eq!(
        said,
        "the first layer that differs from ghcr.io/acme/app:sha-1: it is no longer built on ghcr.io/acme/cuda:1 as it is here"
    );
    assert!(advice.unwrap().contains("layerkeeper prewarm"));
    // this store has a word for each layer; what to do is said at the lowest
    let containerd = with(CONTAINERD).keeping("ghcr.io/acme/cuda:1");
    assert_eq!(containerd.words(&wanted), ["differs", "never seen", "never seen"]);
    assert_eq!(containerd.said(&wanted, 1).1, None);
    // a base that nobody keeps is told by its instruction
    let (said, advice) = with(CLASSIC).said(&wanted, 0);
    assert!(said.ends_with("the same instruction made other content"), "{said}");
    assert!(advice.unwrap().starts_with("the lowest layer is the base image's, as a rule"));
    // an image FROM scratch has none
    let scratch = server(CLASSIC).with("sha-1", &["a<COPY serve /serve"]);
    assert!(scratch.said(&["b<COPY serve /serve"], 0).1.unwrap().starts_with("the files that it copies have changed"));
}

#[test]
fn with_nothing_in_common_it_is_compared_with_the_newest_of_its_repository_or_with_none() {
    let compared = |server: &Scenery| server.explain(&["new"]).compared_with;
    let others = server(CLASSIC).with("ghcr.io/acme/cuda:1", &["cuda"]).with("redis:7", &["redis"]);
    assert_eq!(others.words(&["new"]), ["never seen"]);
    assert_eq!(compared(&others), None);
    let (said, advice) = others.said(&["new"], 0);
    assert_eq!(said, "nothing like it was ever seen here");
    assert!(advice.unwrap().contains("keep the image that it is built on as a [[keep]] block"));
    // by our own order, not by the time of the build
    let mut server = others.with("sha-1", &["one"]).with("sha-2", &["two"]).deployed("sha-1", 8).deployed("sha-2", 7);
    server.host.image("sha-2").created = NOW;
    assert_eq!(compared(&server).as_deref(), Some("ghcr.io/acme/app:sha-1"));
    assert_eq!(server.words(&["new"]), ["differs"]);
    // where our order has neither, by that
    server.host.history.clear();
    assert_eq!(compared(&server).as_deref(), Some("ghcr.io/acme/app:sha-2"));
    // what has the very name comes before all
    let server = server.with("sha-next", &["three"]).deployed("sha-2", 9);
    assert_eq!(compared(&server).as_deref(), Some("ghcr.io/acme/app:sha-next"));
}

#[test]
fn the_nearest_image_and_the_holders_of_moved_content_are_to_be_described() {
    let server = server(CLASSIC)
        .with("sha-1", &["os", "torch", "code1"])
        .with("sha-2", &["other", "node"])
        .with("sha-3", &["third"]);
    let wanted = manifest(&["os", "torch2", "node"]);
    let to_ask = |wanted: &ImageManifest, earlier: Option<ImageId>| -> Vec<String> {
        let inventory = &server.host.inventory;
        let estimate = estimate(wanted, &Holdings::new(inventory, &server.records));
        to_describe(wanted, &estimate, inventory, earlier).into_iter().map(title).collect()
    };
    assert_eq!(to_ask(&wanted, None), ["ghcr.io/acme/app:sha-1", "ghcr.io/acme/app:sha-2"]);
    // where nothing is shared, the one that it follows upon
    let third = server.host.inventory.named(&name("sha-3")).map(|image| image.id);
    assert_eq!(to_ask(&manifest(&["fourth"]), third), ["ghcr.io/acme/app:sha-3"]);
}

#[test]
fn two_builds_are_compared_as_on_a_server_that_has_the_first_alone() {
    let name = "ghcr.io/acme/app:sha-1".parse().unwrap();
    let (had, wanted) =
        (manifest(&["os", "torch", "code1<COPY . /app"]), manifest(&["os", "torch", "code2<COPY . /app"]));
    for store in [CLASSIC, CONTAINERD] {
        let (estimate, explanation) = crate::reuse::against(&wanted, &had, &name, store);
        assert_eq!((estimate.fetch_least, estimate.fetch_most), (Bytes(100), Bytes(100)));
        assert_eq!(explanation.compared_with.as_deref(), Some("ghcr.io/acme/app:sha-1"));
        assert!(explanation.causes[2][0].to_string().contains("the same instruction made other content"));
        let (same, _) = crate::reuse::against(&had, &had, &name, store);
        assert_eq!(same.fetch_most, Bytes::ZERO);
        // of another repository, and built on another base: it was named all the same
        let other = manifest(&["os2<ADD ubuntu.tar /", "torch"]);
        let (_, explanation) = crate::reuse::against(&other, &had, &name, store);
        assert_eq!(explanation.compared_with.as_deref(), Some("ghcr.io/acme/app:sha-1"));
        assert_eq!(explanation.causes[0][0].as_str(), "differs");
        assert!(explanation.causes[0][0].advice().unwrap().starts_with("the lowest layer is the base image's"));
    }
}
