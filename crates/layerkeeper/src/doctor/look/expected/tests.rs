//! What a doctor leaves behind: nothing.

use layerkeeper_core::{Expect, ImageName, Keep, StoreKind};
use layerkeeper_engine::EngineError;
use layerkeeper_engine::fake::{Fake, FakeImage, FakeLayer};

use super::*;
use crate::doctor::kept::Shown;

/// An engine with a kept image of which something is expected.
fn kept(engine: &Fake) -> Vec<KeptSeen> {
    let name: ImageName = "ghcr.io/acme/base:1".parse().unwrap();
    let status = "Package: libcudnn8\nStatus: install ok installed\nVersion: 8.9.0\n";
    let layer = FakeLayer::new("os", 1000).with_files(&[("/var/lib/dpkg/status", status)]);
    let image = FakeImage::of_layers("base", vec![layer]);
    engine.preload(&name.to_reference(), &image);
    let expect = vec![Expect::Package { name: "libcudnn8".to_owned(), version: None }];
    let keep = Keep { expect, ..Keep::new(name, None) };
    let tag = Shown::Image(image.manifest_digest());
    vec![KeptSeen { keep, tag, pinned: None, others: Vec::new(), held: Held::Unasked }]
}

#[tokio::test]
async fn a_doctor_that_is_stopped_leaves_nothing_open_and_touches_nothing_of_another() {
    let engine = Fake::new(StoreKind::Graphdriver);
    let mut kept = kept(&engine);
    let image = kept[0].keep.image.to_reference();
    let inventory = engine.inventory().await.unwrap();
    let (ours, theirs) = (owner().unwrap(), owner().unwrap());
    assert_ne!(ours, theirs);
    let another = &engine;
    let open = another.open(&image, &theirs).await.unwrap();
    engine.stall_archives(true);
    let reads = async {
        while engine.left_open(&ours).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let looks = look(&engine, &mut kept, Some(&inventory), &ours);
    assert_eq!(unless_stopped(&engine, &ours, looks, reads).await, None);
    assert_eq!(engine.left_open(&ours).await.unwrap(), [""; 0]);
    assert_eq!(engine.left_open(&theirs).await.unwrap(), [open]);
}

#[tokio::test]
async fn a_container_that_does_not_go_at_once_is_tried_once_more_and_costs_no_verdict() {
    let engine = Fake::new(StoreKind::Graphdriver);
    let mut kept = kept(&engine);
    let inventory = engine.inventory().await.unwrap();
    engine.spoil_next_close(EngineError::Other("device or resource busy".to_owned()));
    let looks = look(&engine, &mut kept, Some(&inventory), "doctor-1");
    unless_stopped(&engine, "doctor-1", looks, std::future::pending()).await.unwrap();
    assert_eq!(kept[0].held, Held::To(Vec::new()));
    assert_eq!(engine.left_open("doctor-1").await.unwrap(), [""; 0]);
}
