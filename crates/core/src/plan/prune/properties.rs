//! What holds for every plan, whatever the host.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::ContainerState;
use crate::digest::{ChainId, DiffId};
use crate::inventory::Container;
use crate::layers::Origin;
use crate::policy::RemoveSuperseded;
use crate::testing::*;

const OTHER: &str = "ghcr.io/acme/other";
const NAMES: [&str; 12] = [
    "sha-1",
    "sha-2",
    "sha-3",
    "sha-4",
    "sha-5",
    "latest",
    "cache",
    "ghcr.io/acme/other:sha-1",
    "ghcr.io/acme/other:sha-2",
    "ghcr.io/acme/other:v1",
    "ghcr.io/acme/outside:sha-1",
    "docker.io/acme/app:sha-1",
];
const IMAGES: usize = 7;

fn word(i: usize) -> String {
    format!("image-{i}")
}

/// Layers are few and stacked at random, so that stacks share bottoms, and contents stand on several parents.
fn images() -> impl Strategy<Value = Vec<Image>> {
    let one = (vec(0..4usize, 1..4), 0..3i64, any::<bool>());
    vec(one, IMAGES).prop_map(|images| {
        let built = images.into_iter().enumerate().map(|(i, (layers, created, sized))| Image {
            layers: layers.iter().map(|l| diff(&format!("layer-{l}"))).collect(),
            layer_bytes: if sized { layers.iter().map(|l| Bytes(10u64.pow(*l as u32))).collect() } else { Vec::new() },
            created: Timestamp(created),
            ..image(&word(i))
        });
        built.collect()
    })
}

fn record() -> impl Strategy<Value = NameHistory> {
    (0..6u64, option::of((0..9u64, 0..60u64)), 0..60u64, option::of(0..60u64)).prop_map(
        |(place, deployed, seen, held)| NameHistory {
            place,
            deployed: deployed.map(|(n, ago)| (n, NOW.minus(hours(ago)))),
            first_seen: NOW.minus(hours(seen)),
            last_held: held.map(|ago| NOW.minus(hours(ago))),
        },
    )
}

fn container() -> impl Strategy<Value = Container> {
    (0..IMAGES, 0..4usize, 0..NAMES.len()).prop_map(|(image, how, name_)| Container {
        id: "c".to_owned(),
        name: "web".to_owned(),
        state: [ContainerState::Running, ContainerState::Exited, ContainerState::Created, ContainerState::Dead][how],
        image: match how {
            0 => None,
            1 => Some(ImageId::from_bytes(*digest(&word(image)).as_bytes())),
            _ => Some(id(&word(image))),
        },
        created_from: (how == 0 || how == 3).then(|| name(NAMES[name_])),
    })
}

prop_compose! {
    fn host()(
        images in images(),
        tags in vec(option::weighted(0.7, 0..IMAGES), NAMES.len()),
        rows in vec((0..IMAGES, 0..3usize), 0..5),
        records in vec(option::weighted(0.9, record()), NAMES.len()),
        containers in vec(container(), 0..3),
        keep in vec((0..NAMES.len(), option::of(0..IMAGES)), 0..2),
        made in vec(0..IMAGES, 0..4),
        old in vec((0..IMAGES, 0..NAMES.len(), 0..60u64), 0..5),
        keep_last in 0..4usize,
        min_age in 0..60u64,
        sometimes in (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.1), any::<bool>()),
        after in 0..60u64,
    ) -> Host {
        let (superseded_now, blocked, doubt, containerd) = sometimes;
        let mut host = Host::keeping(keep_last);
        host.policy.runtime.push(runtime(OTHER, keep_last.min(1)));
        for runtime in &mut host.policy.runtime {
            runtime.min_age = hours(min_age);
        }
        host.policy.remove_superseded = if after < 30 { RemoveSuperseded::After(hours(after)) } else { RemoveSuperseded::Never };
        host.inventory.images = images;
        host.inventory.images.sort_by_key(|image| image.id);
        host.inventory.containers = containers;
        for ((text, at), record) in NAMES.iter().zip(tags).zip(records) {
            if let Some(at) = at {
                host = host.named(&word(at), text);
            }
            if let Some(record) = record {
                host = host.recorded(text, record);
            }
        }
        for (at, of) in rows {
            host = host.row(&word(at), [APP, OTHER, "ghcr.io/acme/outside"][of]);
        }
        for (text, pin) in keep {
            host = host.keep(NAMES[text], pin.map(|at| digest(&word(at))));
        }
        for at in made {
            host = host.made(&word(at));
        }
        for (at, was, ago) in old {
            host = host.left_behind(&word(at), NAMES[was], hours(ago));
        }
        host.superseded_now = superseded_now;
        host.blocked = blocked.then_some("blocked");
        host.clock_doubt = doubt.then_some("doubt");
        if containerd {
            host.inventory.engine = engine(crate::StoreKind::Containerd);
            host.layers = (0..4).map(|l| LayerRecord {
                chain: ChainId::of_stack(&[diff("any")])[0],
                diff_id: diff(&format!("layer-{l}")),
                blob: digest(&format!("layer-{l}")),
                size: Bytes(10u64.pow(l) * 3),
                origin: Origin::Downloaded,
            }).collect();
        }
        host
    }
}

fn prunable(host: &Host, name: &ImageName) -> bool {
    host.policy.runtime.iter().any(|r| r.repository == name.repository && name.tag.as_str().starts_with("sha-"))
}

fn find(host: &Host, image: ImageId) -> &Image {
    host.inventory.images.iter().find(|i| i.id == image).unwrap()
}

fn held(host: &Host, image: &Image) -> bool {
    host.inventory.containers.iter().any(|c| c.holds(image))
}

/// What the host's layers take if only these images were on it: every distinct stack once, and on the containerd store
/// every distinct content once more.
fn takes(host: &Host, images: &[&Image]) -> u64 {
    let mut stacks: BTreeSet<Vec<DiffId>> = BTreeSet::new();
    let mut contents = BTreeSet::new();
    for image in images {
        for end in 1..=image.layers.len() {
            stacks.insert(image.layers[..end].to_vec());
            contents.insert(image.layers[end - 1]);
        }
    }
    let unpacked: u64 = stacks
        .iter()
        .map(|stack| {
            let sizes = host.inventory.images.iter().filter(|i| i.layers.starts_with(stack));
            sizes.filter_map(|i| i.layer_bytes.get(stack.len() - 1)).map(|b| b.0).max().unwrap_or(0)
        })
        .sum();
    let size = |c: &DiffId| host.layers.iter().filter(|l| l.diff_id == *c).map(|l| l.size.0).max().unwrap_or(0);
    unpacked + contents.iter().map(size).sum::<u64>()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Invariant 1.
    #[test]
    fn only_prunable_tags_that_no_container_holds_and_rows_of_our_own_making_go(host in host()) {
        for removal in host.plan().removals {
            let image = find(&host, removal.image);
            prop_assert!(!held(&host, image), "{removal:?}");
            match removal.name.name() {
                Some(name) => {
                    prop_assert!(prunable(&host, &name) && image.names.contains(&name), "{removal:?}");
                }
                None => {
                    let made = host.made.iter().any(|made| made.reference == removal.name);
                    let old = host.superseded.iter().any(|s| s.repository.by_digest(s.digest) == removal.name);
                    prop_assert!(made || old, "{removal:?}");
                }
            }
        }
    }

    /// Invariant 1 and the exception to 3: in any need the newest `keep_min`, the kept and the held stay, what the incoming
    /// image builds on stays here, and what the plan says is freed is what the remaining images no longer take.
    #[test]
    fn a_pressure_plan_takes_no_more_than_it_may(
        host in host(), wanted in 0..3000u64, incoming in vec(0..4usize, 0..4), keep_min in 1..3usize
    ) {
        let mut host = host;
        host.policy.runtime.iter_mut().for_each(|runtime| runtime.keep_min = keep_min);
        let incoming: Vec<DiffId> = incoming.iter().map(|n| diff(&format!("layer-{n}"))).collect();
        let found = host.press(Bytes(wanted), &incoming);
        let gone: BTreeSet<Reference> = found.plan.removals.iter().map(|r| r.name.clone()).collect();
        for removal in &found.plan.removals {
            let image = find(&host, removal.image);
            prop_assert!(!held(&host, image), "{removal:?}");
            prop_assert!(host.blocked.is_none());
            if let Some(name) = removal.name.name() {
                prop_assert!(prunable(&host, &name) && host.policy.kept(&name).is_none(), "{removal:?}");
            }
        }
        for runtime in &host.policy.runtime {
            let tagged = |image: &&Image| image.names.iter().any(|name| runtime.may_prune(name));
            let stays = |image: &&Image| image.names.iter().any(|n| runtime.may_prune(n) && !gone.contains(&n.to_reference()));
            let all = host.inventory.images.iter().filter(tagged).count();
            prop_assert!(host.inventory.images.iter().filter(tagged).filter(stays).count() >= all.min(keep_min));
        }
        let lives = |image: &&Image| {
            let names = image.names.iter().any(|name| !gone.contains(&name.to_reference()));
            let rows = image.digests.iter().any(|(repository, digest)| {
                let with_its_tag = image.names.iter().any(|name| name.repository == *repository);
                !with_its_tag && !gone.contains(&repository.by_digest(*digest))
            });
            names || rows || found.plan.removals.iter().all(|removal| removal.image != image.id)
        };
        let left: Vec<&Image> = host.inventory.images.iter().filter(lives).collect();
        let all: Vec<&Image> = host.inventory.images.iter().collect();
        prop_assert_eq!(found.freed.0, takes(&host, &all) - takes(&host, &left));
        prop_assert_eq!(found.enough, found.freed.0 >= wanted);
        let shared = |images: &[&Image]| {
            let of = |image: &&Image| image.layers.iter().zip(&incoming).take_while(|(a, b)| a == b).count();
            images.iter().map(of).max().unwrap_or(0)
        };
        prop_assert_eq!(shared(&all), shared(&left), "what the incoming image builds on stays");
    }

    /// Invariants 2 and 3: of every repository the newest `keep_last` images stay, the newest succeeded deploy first;
    /// kept and young tags stay; blocked and doubtful times remove no tag.
    #[test]
    fn the_newest_the_kept_and_the_young_stay(host in host()) {
        let plan = host.plan();
        let going: BTreeSet<ImageName> = plan.removals.iter().filter_map(|r| r.name.name()).collect();
        prop_assert!(going.is_empty() || (host.blocked.is_none() && host.clock_doubt.is_none()));
        for runtime in &host.policy.runtime {
            let tags = |image: &Image| -> Vec<ImageName> {
                image.names.iter().filter(|n| n.repository == runtime.repository && prunable(&host, n)).cloned().collect()
            };
            let here: Vec<_> = host.inventory.images.iter().filter(|image| !tags(image).is_empty()).collect();
            let stay = here.iter().filter(|image| tags(image).iter().all(|n| !going.contains(n))).count();
            let go = here.iter().filter(|image| tags(image).iter().all(|n| going.contains(n))).count();
            prop_assert_eq!(stay + go, here.len(), "tags of one image stay or go together");
            prop_assert!(stay >= here.len().min(runtime.keep_last.max(1)));
            let number = |image: &Image| {
                tags(image).iter().filter_map(|n| host.history.get(n)?.deployed).map(|(n, _)| n).max()
            };
            if let Some(best) = here.iter().filter_map(|image| number(image)).max() {
                let stays = |i: &&&Image| number(i) == Some(best) && tags(i).iter().all(|n| !going.contains(n));
                prop_assert!(here.iter().any(|i| stays(&i)));
            }
        }
        for name in &going {
            let runtime = host.policy.runtime(&name.repository).unwrap();
            let age = host.history.get(name).map_or(std::time::Duration::ZERO, |record| record.age(NOW));
            prop_assert!(age >= runtime.min_age, "{name}");
            prop_assert!(host.policy.kept(name).is_none(), "{name}");
        }
    }

    /// The content of a pin never goes with its last name.
    #[test]
    fn a_pinned_digest_keeps_a_name(host in host()) {
        let going: BTreeSet<Reference> = host.plan().removals.into_iter().map(|r| r.name).collect();
        for keep in &host.policy.keep {
            let Some(image) = keep.pin.and_then(|pin| host.inventory.with_digest(&keep.image.repository, pin)) else { continue };
            let names = image.names.iter().map(ImageName::to_reference).any(|name| !going.contains(&name));
            prop_assert!(image.names.is_empty() || names, "{}", keep.image);
        }
    }

    /// Every tag of a runtime repository and every superseded digest that is here is listed once, with its reason.
    #[test]
    fn everything_considered_is_listed_once(host in host()) {
        let plan = host.plan();
        let mut listed: BTreeMap<Reference, u32> = BTreeMap::new();
        for name in plan.removals.iter().map(|r| &r.name).chain(plan.kept.iter().map(|k| &k.name)) {
            *listed.entry(name.clone()).or_default() += 1;
        }
        let tags = host.inventory.images.iter().flat_map(|image| &image.names);
        let tags = tags.filter(|n| host.policy.runtime(&n.repository).is_some()).map(ImageName::to_reference);
        let old = host.superseded.iter().filter(|s| host.inventory.with_digest(&s.repository, s.digest).is_some());
        let old = old.map(|s| s.repository.by_digest(s.digest));
        for name in tags.chain(old).collect::<BTreeSet<_>>() {
            prop_assert_eq!(listed.remove(&name), Some(1), "{}", name);
        }
        let rest_is_ours = listed.iter().all(|(name, n)| *n == 1 && host.made.iter().any(|m| m.reference == *name));
        prop_assert!(rest_is_ours, "{listed:?}");
    }

    /// What goes frees what a naive count says: the distinct stacks before, less those after.
    #[test]
    fn freed_is_what_a_naive_count_says(host in host()) {
        let plan = host.plan();
        let going: BTreeSet<Reference> = plan.removals.iter().map(|r| r.name.clone()).collect();
        let touched: BTreeSet<ImageId> = plan.removals.iter().map(|r| r.image).collect();
        let remains = |image: &&Image| {
            let tag = image.names.iter().any(|name| !going.contains(&name.to_reference()));
            // a repository's rows go with its last tag
            let row = image.digests.iter().any(|(repository, digest)| {
                !going.contains(&repository.by_digest(*digest)) && image.names.iter().all(|n| n.repository != *repository)
            });
            !touched.contains(&image.id) || tag || row
        };
        let before: Vec<&Image> = host.inventory.images.iter().collect();
        let after: Vec<&Image> = host.inventory.images.iter().filter(remains).collect();
        prop_assert_eq!(plan.freed().0, takes(&host, &before) - takes(&host, &after), "{}", render(&plan));
        prop_assert!(plan.freed().0 <= takes(&host, &before));
        for removal in &plan.removals {
            if matches!(removal.reason, RemovalReason::OnlyUntags { .. }) {
                prop_assert_eq!(removal.freed, Bytes::ZERO);
            }
        }
    }

    /// Invariant 6, and the engine's order of images and containers changes neither what goes nor what it frees.
    #[test]
    fn the_same_host_gives_the_same_plan(host in host(), by in 0..IMAGES) {
        let plan = host.plan();
        prop_assert_eq!(&host.plan(), &plan);
        let mut turned = host.clone();
        turned.inventory.images.rotate_left(by);
        turned.inventory.containers.reverse();
        turned.layers.reverse();
        prop_assert_eq!(turned.plan().removals, plan.removals);
    }
}
