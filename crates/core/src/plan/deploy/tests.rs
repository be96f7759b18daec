//! What must move, and how the name is made.

use super::*;
use crate::ContainerState;
use crate::bytes::Bytes;
use crate::manifest::{Descriptor, Platform};
use crate::testing::*;

/// An index `index` that holds the platform's manifest `platform`.
fn manifest() -> ImageManifest {
    let descriptor = |word| Descriptor { digest: digest(word), size: Bytes(1) };
    ImageManifest {
        resolved: digest("index"),
        manifest: descriptor("platform"),
        config: descriptor("config"),
        index_size: Some(Bytes(1)),
        platform: Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None },
        layers: Vec::new(),
    }
}

fn from(name_: &str) -> Container {
    Container {
        id: "c".to_owned(),
        name: "web".to_owned(),
        state: ContainerState::Running,
        image: None,
        created_from: Some(name(name_)),
    }
}

fn how_named(host: &Host, tag: &str, word: &str, shows: Option<&str>) -> Naming {
    let (name, inventory) = (name(tag), &host.inventory);
    naming(&name, digest(word), shows.map(digest), inventory.named(&name), &inventory.containers)
}

#[test]
fn a_name_with_the_digest_is_done_and_needs_no_registry() {
    let host = Host::keeping(1).named("v1", "sha-1");
    assert_eq!(arrival(&name("sha-1"), digest("v1"), None, &host.inventory), Arrival::Done);
}

#[test]
fn content_that_is_here_needs_only_its_name() {
    let host = Host::keeping(1).named("v1", "sha-1").named("v2", "sha-2").row("v3", APP);
    for word in ["v2", "v3"] {
        assert_eq!(arrival(&name("sha-1"), digest(word), None, &host.inventory), Arrival::NameOnly);
        assert_eq!(arrival(&name("sha-9"), digest(word), None, &host.inventory), Arrival::NameOnly);
    }
}

#[test]
fn everything_else_is_pulled() {
    let host = Host::keeping(1).named("v1", "sha-1").row("v2", "ghcr.io/acme/mirror");
    assert_eq!(arrival(&name("sha-1"), digest("v3"), None, &host.inventory), Arrival::Pull);
    assert_eq!(arrival(&name("sha-1"), digest("v2"), None, &host.inventory), Arrival::Pull, "another repository's row");
}

#[test]
fn an_index_and_its_platforms_manifest_are_one_content() {
    for (here, wanted) in [("index", "platform"), ("platform", "index")] {
        let host = Host::keeping(1).named(here, "sha-1");
        let both = manifest();
        let asked = |manifest| arrival(&name("sha-1"), digest(wanted), manifest, &host.inventory);
        assert_eq!(asked(Some(&both)), Arrival::Done);
        assert_eq!(asked(None), Arrival::Pull, "nothing tells that they are");
    }
    let host = Host::keeping(1).named("other", "sha-1");
    assert_eq!(arrival(&name("sha-1"), digest("index"), Some(&manifest()), &host.inventory), Arrival::Pull);
}

#[test]
fn the_tag_of_a_name_that_is_taken_is_pulled_only_while_it_shows_the_digest() {
    let host = Host::keeping(1).named("v1", "sha-1");
    let how = |shows: Option<&str>| how_named(&host, "sha-1", "v2", shows);
    assert_eq!(how(Some("v2")), Naming::ByPull);
    assert_eq!(how(Some("v1")), Naming::ByLocalTag);
    assert_eq!(how(None), Naming::ByLocalTag);
}

#[test]
fn a_name_that_a_container_was_made_from_is_not_moved_by_a_local_tag() {
    let mut host = Host::keeping(1).named("v1", "sha-1");
    host.inventory.containers.push(from("sha-1"));
    let how = |word: &str, shows: Option<&str>| how_named(&host, "sha-1", word, shows);
    assert_eq!(how("v2", None), Naming::Forbidden("web".to_owned()));
    assert_eq!(how("v2", Some("v1")), Naming::Forbidden("web".to_owned()));
    assert_eq!(how("v2", Some("v2")), Naming::ByPull, "a move by a pull keeps the old content");
    assert_eq!(how("v1", None), Naming::ByLocalTag, "nothing moves away");
}

#[test]
fn a_name_that_is_new_here_needs_no_registry() {
    let host = Host::keeping(1).named("v1", "sha-1");
    for shows in [Some("v2"), Some("v1"), None] {
        assert_eq!(how_named(&host, "sha-2", "v2", shows), Naming::ByLocalTag);
    }
}

#[test]
fn a_free_name_is_made_even_where_a_container_was_made_from_it() {
    let mut host = Host::keeping(1).named("v1", "sha-1");
    host.inventory.containers.push(from("sha-2"));
    assert_eq!(how_named(&host, "sha-2", "v2", None), Naming::ByLocalTag);
}
