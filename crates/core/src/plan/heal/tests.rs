//! What counts as lost, and how it went.

use super::*;
use crate::inventory::{EngineInfo, StoreKind};
use crate::testing::*;

const BASE_NAME: &str = "ghcr.io/acme/base:1";
const PYTHON: &str = "ghcr.io/acme/app:cache-python";

/// A host that has both kept images and two runtime tags, all of which our record knows.
struct Scene {
    host: Host,
    known: BTreeMap<ImageName, Digest>,
    restorable: Vec<(ImageName, Option<Digest>)>,
    buried: BTreeSet<ImageName>,
}

impl Scene {
    fn new() -> Self {
        let host = Host::keeping(2).keep(BASE_NAME, None).keep(PYTHON, None);
        let host = host.named("base", BASE_NAME).named("python", PYTHON).named("one", "sha-1").named("two", "sha-2");
        let known = BTreeMap::from([(name(BASE_NAME), digest("base")), (name(PYTHON), digest("python"))]);
        let restorable = vec![(name("sha-1"), Some(digest("one"))), (name("sha-2"), Some(digest("two")))];
        Self { host, known, restorable, buried: BTreeSet::new() }
    }

    fn lost(&self) -> Vec<Loss> {
        losses(&HealQuestion {
            inventory: &self.host.inventory,
            policy: &self.host.policy,
            known: &self.known,
            restorable: &self.restorable,
            buried: &self.buried,
        })
    }

    fn names(&self) -> Vec<String> {
        self.lost().into_iter().map(|loss| loss.image.to_string()).collect()
    }

    fn remove(&mut self, image: &str) {
        let image = name(image);
        for here in &mut self.host.inventory.images {
            here.names.remove(&image);
        }
    }
}

#[test]
fn while_everything_is_here_nothing_is_lost() {
    assert_eq!(Scene::new().lost(), []);
}

#[test]
fn what_is_gone_comes_back_in_the_order_of_the_file_and_then_by_tag() {
    let mut scene = Scene::new();
    for image in [PYTHON, "sha-2", "sha-1", BASE_NAME] {
        scene.remove(image);
    }
    let app = |tag: &str| format!("{APP}:{tag}");
    assert_eq!(scene.names(), [BASE_NAME.to_owned(), PYTHON.to_owned(), app("sha-1"), app("sha-2")]);
    let lost = scene.lost();
    assert_eq!(lost[0].digest, Some(digest("base")));
    assert!(lost[0].kept && lost[0].was_here && !lost[2].kept);
    assert_eq!(lost[2].digest, Some(digest("one")));
}

#[test]
fn a_kept_image_that_never_came_is_missing_and_nobody_took_it() {
    let mut scene = Scene::new();
    scene.remove(BASE_NAME);
    scene.known.clear();
    let lost = scene.lost();
    assert_eq!((lost.len(), lost[0].was_here, lost[0].digest), (1, false, None));
}

#[test]
fn a_kept_name_that_somebody_moved_counts_as_lost_and_one_of_unknown_origin_does_not() {
    let mut scene = Scene::new();
    scene.known.insert(name(BASE_NAME), digest("what we brought"));
    assert_eq!(scene.names(), [BASE_NAME]);
    scene.known.remove(&name(BASE_NAME));
    assert_eq!(scene.lost(), []);
}

#[test]
fn what_was_removed_on_purpose_is_not_lost() {
    let mut scene = Scene::new();
    scene.remove(BASE_NAME);
    scene.remove("sha-1");
    scene.buried = BTreeSet::from([name(BASE_NAME), name("sha-1")]);
    assert_eq!(scene.lost(), []);
}

#[test]
fn a_tag_that_the_configuration_no_longer_names_is_let_go() {
    let mut scene = Scene::new();
    scene.remove("sha-1");
    scene.host.policy.runtime.clear();
    assert_eq!(scene.lost(), []);
}

#[test]
fn how_it_went_is_what_was_heard_of_the_image_that_the_name_had() {
    let of = |heard: &Heard| heard.cause(Some(id("base")));
    let mut heard = Heard::default();
    assert_eq!(of(&heard), Cause::Unknown);
    heard.untagged.insert(id("python"));
    assert_eq!(of(&heard), Cause::Unknown, "another image's");
    heard.untagged.insert(id("base"));
    assert_eq!(of(&heard), Cause::Untag);
    heard.deleted.insert(id("base"));
    assert_eq!(of(&heard), Cause::Delete);
    heard.prune = true;
    assert_eq!(of(&heard), Cause::Prune);
    assert_eq!(heard.cause(None), Cause::Unknown, "nobody had looked before");
}

#[test]
fn what_is_told_while_a_look_is_under_way_explains_what_the_next_one_shows() {
    let cause = |told: &Told| told.heard().cause(Some(id("base")));
    let mut told = Told::default();
    told.look_begins();
    told.since.deleted.insert(id("base"));
    assert_eq!(cause(&told), Cause::Delete, "the inventory may show it already");
    told.look_ends(&BTreeSet::new());
    told.look_begins();
    assert_eq!(cause(&told), Cause::Delete);
    told.look_ends(&BTreeSet::new());
    assert_eq!(cause(&told), Cause::Unknown, "two looks are enough");
}

#[test]
fn a_prune_that_explained_a_loss_explains_no_later_one() {
    for (explained, later) in [(BTreeSet::new(), Cause::Prune), (BTreeSet::from([Cause::Prune]), Cause::Unknown)] {
        let mut told = Told::default();
        told.look_begins();
        told.since.prune = true;
        told.look_ends(&explained);
        told.look_begins();
        assert_eq!(told.heard().cause(Some(id("base"))), later);
    }
}

#[test]
fn another_store_or_another_engine_explains_everything_that_is_missing() {
    let before = engine(StoreKind::Graphdriver).instance();
    assert_eq!(Cause::of_change(&before, &engine(StoreKind::Graphdriver)), None);
    assert_eq!(Cause::of_change(&before, &engine(StoreKind::Containerd)), Some(Cause::StoreFlip));
    let other = EngineInfo { id: "OTHER".to_owned(), ..engine(StoreKind::Graphdriver) };
    assert_eq!(Cause::of_change(&before, &other), Some(Cause::NewEngine));
}
