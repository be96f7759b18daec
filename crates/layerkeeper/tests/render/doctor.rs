//! Two hosts as the doctor sees them.

use layerkeeper::config::{Config, Environment};
use layerkeeper::doctor::Seen;
use layerkeeper::doctor::cleaners::act::acts;
use layerkeeper::doctor::cleaners::times::Times;
use layerkeeper::doctor::cleaners::{Cleaner, Kind, Schedule};
use layerkeeper::doctor::daemon::DaemonSeen;
use layerkeeper::doctor::disk::Disk;
use layerkeeper::doctor::engine::EngineSeen;
use layerkeeper::doctor::host::{HostSeen, Unpigz};
use layerkeeper::doctor::kept::{Held, KeptSeen, Shown};
use layerkeeper::doctor::path::{PathSeen, Rates};
use layerkeeper::doctor::registry::{Access, LoginFile, RegistrySeen};
use layerkeeper::doctor::unit::{self, UnitSeen};
use layerkeeper_core::plan::TransferMode;
use layerkeeper_core::{
    Bytes, Container, ContainerState, DiffId, Digest, EngineInfo, Image, ImageId, ImageName, Inventory, Platform,
    Policy, StoreKind, Timestamp,
};
use layerkeeper_engine::docker::Facts;
use layerkeeper_keeper::status::EngineStatus;
use layerkeeper_keeper::{FileSystem, Status};
use layerkeeper_registry::{Login, Probe, Source};

use super::sample::NOW;

const CONFIGURATION: &str = r#"
[[keep]]
image = "ghcr.io/acme/base-images/cuda:12.1"
[[keep]]
image = "ghcr.io/acme/cache:python"
[[runtime]]
repository = "ghcr.io/acme/app"
prune_tags = ["sha-*"]
"#;

fn policy() -> Policy {
    let config = Config::parse(CONFIGURATION, "a.toml".as_ref(), &Environment::default());
    config.unwrap_or_else(|error| panic!("{error}")).settings.policy
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn image(text: &str, days: i64, bytes: u64) -> Image {
    let name: ImageName = text.parse().unwrap_or_else(|error| panic!("{error}"));
    Image {
        id: ImageId::of(text.as_bytes()),
        digests: [(name.repository.clone(), digest(text))].into(),
        names: [name].into(),
        layers: vec![DiffId::of(text.as_bytes())],
        layer_bytes: vec![Bytes(bytes)],
        created: Timestamp(NOW - days * 86_400_000),
    }
}

fn inventory() -> Inventory {
    let mut images = vec![
        image("ghcr.io/acme/base-images/cuda:12.1", 200, 3_410_000_000),
        image("ghcr.io/acme/cache:python", 20, 5_120_000_000),
        image("ghcr.io/acme/app:sha-1", 9, 214_000_000),
        image("ghcr.io/acme/app:sha-2", 2, 216_000_000),
    ];
    images.sort_by_key(|image| image.id);
    let runs = Container {
        id: "0123".to_owned(),
        name: "app".to_owned(),
        state: ContainerState::Running,
        image: Some(ImageId::of(b"ghcr.io/acme/app:sha-2")),
        created_from: "ghcr.io/acme/app:sha-2".parse().ok(),
    };
    let platform = Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None };
    let engine = EngineInfo {
        rootless: false,
        id: "e".to_owned(),
        version: "29.7.2".to_owned(),
        store: StoreKind::Containerd,
        driver: "overlayfs".to_owned(),
        data_root: "/var/lib/docker".to_owned(),
        platform,
    };
    Inventory { engine, images, containers: vec![runs] }
}

fn disk(gigabytes: u64, inodes: u64) -> Disk {
    let seen = FileSystem {
        id: 1,
        free: Bytes(gigabytes * 1_000_000_000),
        total: Bytes(100_000_000_000),
        free_inodes: inodes,
        total_inodes: 6_000_000,
    };
    Disk { path: "/var/lib/docker".into(), role: "the engine's data root", seen: Ok(seen) }
}

fn registry(access: Access, ahead: i64) -> RegistrySeen {
    let at = Timestamp(NOW + ahead);
    RegistrySeen {
        registry: "ghcr.io".to_owned(),
        source: Ok(Source::File("/etc/layerkeeper/docker-config.json".into())),
        file: Some(LoginFile { path: "/etc/layerkeeper/docker-config.json".into(), is_named: false, is_there: true }),
        probe: Ok(Probe { date: Some(Timestamp(NOW)), asked: at, answered: at }),
        login: Login::User("acme-ci".to_owned()),
        expires: None,
        asked: "ghcr.io/acme/base-images/cuda:12.1".to_owned(),
        access,
    }
}

fn path(mode: TransferMode) -> PathSeen {
    PathSeen {
        registry: "ghcr.io".to_owned(),
        image: "ghcr.io/acme/base-images/cuda:12.1".to_owned(),
        layers: vec![Bytes(1_200_000_000), Bytes(30_000_000)],
        origin: Ok(Rates { one: 4.1e6, many: 31.0e6 }),
        mirrors: Vec::new(),
        caches: Vec::new(),
        mode,
        hindrance: None,
        limited: false,
    }
}

/// All as it should be.
pub fn good() -> Seen {
    let (policy, inventory) = (policy(), inventory());
    let kept = policy.keep.iter().map(|keep| KeptSeen {
        keep: keep.clone(),
        tag: Shown::Image(digest(&keep.image.to_string())),
        pinned: None,
        held: Held::Unasked,
        others: Vec::new(),
    });
    let unit =
        "LoadState=loaded\nUnitFileState=enabled\nUser=layerkeeper\nSupplementaryGroups=docker\nProtectSystem=strict\n";
    let status = Status {
        version: "0.1.0".to_owned(),
        started_at: NOW - 3 * 86_400_000,
        now: NOW,
        engine: EngineStatus { up: true, ..EngineStatus::default() },
        ..Status::default()
    };
    Seen {
        now: Timestamp(NOW),
        version: "0.1.0".to_owned(),
        engine_host: "unix:///run/docker.sock".to_owned(),
        engine: EngineSeen::Up { info: inventory.engine.clone(), images: 4, containers: 1, other_store: false },
        daemon: DaemonSeen::Up(Box::new(status)),
        disks: vec![disk(41, 4_000_000)],
        registries: vec![registry(Access::Granted, 300)],
        paths: vec![path(TransferMode::Auto)],
        kept: kept.collect(),
        cleaners: Vec::new(),
        unread: Vec::new(),
        host: HostSeen {
            facts: Some(Facts { live_restore: Some(true), swarm: false }),
            unpigz: Unpigz::Found("/usr/bin/unpigz".into()),
        },
        unit: unit::read(unit),
        policy,
        inventory: Some(inventory),
    }
}

/// Much is wrong.
pub fn bad() -> Seen {
    let base = good();
    let written = "0 3 * * *";
    let cron = Cleaner {
        kind: Kind::Crontab,
        place: "/etc/cron.d/cleanup:3".to_owned(),
        through: None,
        command: "docker system prune -af".to_owned(),
        alone: true,
        act: acts("docker system prune -af").remove(0),
        schedule: Schedule { written: written.to_owned(), times: Times::cron(written) },
    };
    let timer = Cleaner {
        kind: Kind::Timer { unit: "docker-prune.timer".to_owned(), enabled: true },
        place: "/etc/systemd/system/docker-prune.service:5".to_owned(),
        through: Some("/usr/local/bin/tidy:12".to_owned()),
        command: "docker image prune -f".to_owned(),
        alone: false,
        act: acts("docker image prune -f").remove(0),
        schedule: Schedule { written: "weekly".to_owned(), times: Times::calendar("weekly") },
    };
    let mut kept = base.kept.clone();
    kept[0].keep.pin = Some(digest("ghcr.io/acme/base-images/cuda:12.1"));
    kept[0].tag = Shown::Image(digest("newer"));
    kept[0].pinned = Some(Shown::Gone);
    kept[1].tag = Shown::Image(digest("newer"));
    let refused = "ghcr.io refused access to acme/base-images/cuda as user \"acme-ci\"";
    Seen {
        daemon: DaemonSeen::Silent {
            at: "/run/layerkeeper/control.sock".to_owned(),
            cause: "No such file or directory (os error 2)".to_owned(),
        },
        disks: vec![disk(3, 4_000_000), Disk { path: "/srv".into(), role: "[disk] paths", ..disk(41, 90_000) }],
        registries: vec![registry(Access::Refused(refused.to_owned()), -412_000)],
        paths: vec![PathSeen {
            mirrors: vec![("mirror.lan:5000".to_owned(), Err("connection refused".to_owned()))],
            ..path(TransferMode::Engine)
        }],
        kept,
        cleaners: vec![cron, timer],
        unread: vec!["/var/spool/cron/crontabs: Permission denied (os error 13)".to_owned()],
        host: HostSeen {
            facts: Some(Facts { live_restore: Some(false), swarm: false }),
            unpigz: Unpigz::Missing { own_path: true, dirs: vec!["/usr/bin".into(), "/bin".into()] },
        },
        unit: UnitSeen::Unknown("this host was not started by systemd".to_owned()),
        ..base
    }
}
