//! A small host for the doctor's tests: two kept images, three deployed tags, one image by digest, one stopped container.

use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::{
    Bytes, Container, ContainerState, DiffId, Digest, EngineInfo, Image, ImageId, ImageName, Inventory, Keep, Platform,
    Policy, Runtime, StoreKind, Timestamp,
};

/// 24 November 2026, 03:00 UTC.
pub const NOW: Timestamp = Timestamp(1_795_489_200_000);
const DAY: i64 = 86_400_000;

/// `ghcr.io/acme/TEXT`
pub fn name(text: &str) -> ImageName {
    format!("ghcr.io/acme/{text}").parse().unwrap()
}

/// An image built so many days ago, with one layer of its own of so many megabytes.
pub fn image(text: &str, days: i64, megabytes: u64) -> Image {
    let names: Vec<ImageName> = if text.starts_with('@') { Vec::new() } else { vec![name(text)] };
    let repository = "ghcr.io/acme/app".parse().unwrap();
    let repository = names.first().map_or(repository, |name| name.repository.clone());
    Image {
        id: ImageId::of(text.as_bytes()),
        names: names.into_iter().collect(),
        digests: [(repository, Digest::of(text.as_bytes()))].into(),
        layers: vec![DiffId::of(text.as_bytes())],
        layer_bytes: vec![Bytes(megabytes * 1_000_000)],
        created: Timestamp(NOW.0 - days * DAY),
    }
}

/// A container made from this image.
pub fn container(text: &str, state: ContainerState) -> Container {
    Container {
        id: format!("id-of-{text}"),
        name: text.replace([':', '/'], "-"),
        state,
        image: Some(ImageId::of(text.as_bytes())),
        created_from: Some(name(text)),
    }
}

/// What the host holds: `app:sha-3` runs, `app:sha-2` is stopped.
pub fn inventory() -> Inventory {
    let mut images = vec![
        image("base:1", 300, 3_000),
        image("cache:py", 30, 1_000),
        image("app:sha-1", 20, 200),
        image("app:sha-2", 10, 210),
        image("app:sha-3", 1, 220),
        image("@old", 40, 50),
    ];
    images.sort_by_key(|image| image.id);
    let containers =
        vec![container("app:sha-3", ContainerState::Running), container("app:sha-2", ContainerState::Exited)];
    Inventory { engine: engine(StoreKind::Graphdriver), images, containers }
}

/// An engine.
pub fn engine(store: StoreKind) -> EngineInfo {
    EngineInfo {
        rootless: false,
        id: "e".to_owned(),
        version: "26.1.5".to_owned(),
        store,
        driver: if store == StoreKind::Containerd { "overlayfs" } else { "overlay2" }.to_owned(),
        data_root: "/var/lib/docker".to_owned(),
        platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None },
    }
}

/// What is wanted: base and cache kept, app deployed, the last two of it kept.
pub fn policy() -> Policy {
    let keep = |text: &str| Keep::new(name(text), None);
    let tags = || vec!["sha-*".parse().unwrap()];
    let runtime = Runtime {
        repository: "ghcr.io/acme/app".parse().unwrap(),
        deploy_tags: tags(),
        prune_tags: tags(),
        keep_last: 2,
        keep_min: 1,
        min_age: std::time::Duration::ZERO,
        download_budget: Bytes(300_000_000),
        download_limit: None,
    };
    Policy {
        keep: vec![keep("base:1"), keep("cache:py")],
        runtime: vec![runtime],
        remove_superseded: RemoveSuperseded::Never,
        min_free: Bytes(4_000_000_000),
    }
}
