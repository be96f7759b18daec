//! How long a plan takes as the host grows. Run with `cargo run --release -p layerkeeper-core --example plan_bench`.
//!
//! Exits with 1 when 5,000 images and 200 containers take more than 50 ms.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use layerkeeper_core::layers::{Holdings, LayerRecord, Origin};
use layerkeeper_core::manifest::ManifestLayer;
use layerkeeper_core::plan::{NameHistory, PruneQuestion, SupersededDigest, plan_prune};
use layerkeeper_core::policy::RemoveSuperseded;
use layerkeeper_core::reuse::estimate;
use layerkeeper_core::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const LIMIT: Duration = Duration::from_millis(50);
const REPOSITORIES: usize = 4;

fn main() -> ExitCode {
    println!("plan_prune, 20 layers an image, 200 containers, median of 11");
    println!("{:>8} {:>10} {:>12} {:>8} {:>8}", "images", "median", "per image", "growth", "going");
    let mut before: Option<Duration> = None;
    let mut too_slow = false;
    for images in [500, 5_000, 50_000] {
        let host = Host::of(images);
        let going = plan_prune(&host.question()).removals.len();
        let median = median_of_11(|| drop(black_box(plan_prune(black_box(&host.question())))));
        let growth = before.map_or_else(String::new, |b| format!("x{:.1}", median.as_secs_f64() / b.as_secs_f64()));
        let each = median / u32::try_from(images).unwrap();
        println!("{images:>8} {:>10} {:>12} {growth:>8} {going:>8}", ms(median), format!("{each:.1?}"));
        too_slow |= images == 5_000 && median > LIMIT;
        before = Some(median);
    }
    let host = Host::of(200);
    let manifest = manifest(60);
    let median = median_of_11(|| {
        let holdings = Holdings::new(&host.inventory, &host.layers);
        drop(black_box(estimate(black_box(&manifest), &holdings)));
    });
    println!("estimate of a 60-layer image beside 200 images: {}", ms(median));
    if too_slow {
        println!("5,000 images take more than {}", ms(LIMIT));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn median_of_11(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[5]
}

fn diff(text: &str) -> DiffId {
    DiffId::of(text.as_bytes())
}

/// Twelve layers of base, five that ten images share, three of its own: what a chain of builds leaves.
fn layers(image: usize) -> Vec<DiffId> {
    let base = (0..12).map(|l| diff(&format!("base {} {l}", image % 5)));
    let cache = (0..5).map(|l| diff(&format!("cache {} {l}", image / 10)));
    let own = (0..3).map(|l| diff(&format!("own {image} {l}")));
    base.chain(cache).chain(own).collect()
}

fn repository(image: usize) -> Repository {
    format!("ghcr.io/acme/app-{}", image % REPOSITORIES).parse().unwrap()
}

fn digest(image: usize) -> Digest {
    Digest::of(format!("manifest {image}").as_bytes())
}

fn id(image: usize) -> ImageId {
    ImageId::of(format!("config {image}").as_bytes())
}

fn manifest(count: usize) -> ImageManifest {
    let descriptor = |text: &str| Descriptor { digest: Digest::of(text.as_bytes()), size: Bytes(5_000_000) };
    let layers = (0..count).map(|l| {
        let text = if l < 12 { format!("base 0 {l}") } else { format!("new {l}") };
        ManifestLayer {
            blob: descriptor(&text),
            compression: Compression::Gzip,
            diff_id: diff(&text),
            created_by: Some("RUN something".to_owned()),
        }
    });
    ImageManifest {
        resolved: Digest::of(b"new"),
        manifest: descriptor("new"),
        config: descriptor("config"),
        index_size: None,
        platform: platform(),
        layers: layers.collect(),
    }
}

fn platform() -> Platform {
    Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None }
}

struct Host {
    inventory: Inventory,
    policy: Policy,
    history: BTreeMap<ImageName, NameHistory>,
    superseded: Vec<SupersededDigest>,
    layers: Vec<LayerRecord>,
}

impl Host {
    /// Nine images in ten are tags of four runtime repositories, one in ten is a digest that a tag left behind.
    fn of(images: usize) -> Self {
        let mut host = Self {
            inventory: Inventory { engine: engine(), images: Vec::new(), containers: Vec::new() },
            policy: policy(),
            history: BTreeMap::new(),
            superseded: Vec::new(),
            layers: Vec::new(),
        };
        for n in 0..images {
            host.add(n);
        }
        host.inventory.images.sort_by_key(|image| image.id);
        host.inventory.containers = (0..200).map(|c| container(c * images / 200)).collect();
        for image in &host.inventory.images {
            let chains = ChainId::of_stack(&image.layers);
            host.layers.extend(image.layers.iter().zip(chains).map(|(layer, chain)| LayerRecord {
                chain,
                diff_id: *layer,
                blob: Digest::of(layer.as_bytes()),
                size: Bytes(3_000_000),
                origin: Origin::Downloaded,
            }));
        }
        host
    }

    fn add(&mut self, n: usize) {
        let repository = repository(n);
        let seen = NOW.minus(Duration::from_secs(3600 * (60_000 - n as u64)));
        let mut names = BTreeSet::new();
        if n % 10 == 9 {
            let was = repository.tagged(format!("sha-{:07x}", n - n % 10).parse().unwrap());
            let (old, image, successor) = (digest(n), id(n), digest(n - n % 10));
            let repository = repository.clone();
            self.superseded.push(SupersededDigest { repository, digest: old, was, successor, image, at: seen });
        } else {
            let name = repository.tagged(format!("sha-{n:07x}").parse().unwrap());
            let deployed = Some((n as u64, seen));
            let record = NameHistory { place: n as u64, deployed, first_seen: seen, last_held: None };
            self.history.insert(name.clone(), record);
            names.insert(name);
        }
        self.inventory.images.push(Image {
            id: id(n),
            names,
            digests: BTreeSet::from([(repository, digest(n))]),
            layers: layers(n),
            layer_bytes: vec![Bytes(9_000_000); 20],
            created: seen,
        });
    }

    fn question(&self) -> PruneQuestion<'_> {
        PruneQuestion {
            inventory: &self.inventory,
            policy: &self.policy,
            history: &self.history,
            made: &[],
            superseded: &self.superseded,
            superseded_now: true,
            layers: &self.layers,
            blocked: None,
            clock_doubt: None,
            now: NOW,
        }
    }
}

fn engine() -> EngineInfo {
    EngineInfo {
        rootless: false,
        id: "ENGINE".to_owned(),
        version: "29.0.0".to_owned(),
        store: StoreKind::Containerd,
        driver: "overlayfs".to_owned(),
        data_root: "/var/lib/docker".to_owned(),
        platform: platform(),
    }
}

fn container(image: usize) -> Container {
    let tag = format!("sha-{image:07x}").parse().unwrap();
    Container {
        id: format!("{image:064x}"),
        name: format!("web-{image}"),
        state: ContainerState::Exited,
        image: Some(id(image)),
        created_from: Some(repository(image).tagged(tag)),
    }
}

fn policy() -> Policy {
    let runtime = |n| Runtime {
        repository: repository(n),
        deploy_tags: vec!["sha-*".parse().unwrap()],
        prune_tags: vec!["sha-*".parse().unwrap()],
        keep_last: 3,
        keep_min: 2,
        min_age: Duration::from_secs(86_400),
        download_budget: Bytes(300_000_000),
        download_limit: None,
    };
    let keep = |n| Keep::new(format!("ghcr.io/acme/base-{n}:latest").parse().unwrap(), None);
    Policy {
        keep: (0..5).map(keep).collect(),
        runtime: (0..REPOSITORIES).map(runtime).collect(),
        remove_superseded: RemoveSuperseded::Never,
        min_free: Bytes(4_000_000_000),
    }
}
