//! Each kind of cleaner on the sample host: how bad, in which words, and how it is mended.

use super::*;
use crate::doctor::cleaners::act::{acts, program};
use crate::doctor::cleaners::removes::newest;
use crate::doctor::cleaners::tests::cron;
use crate::doctor::sample::{NOW, inventory, policy};

fn judged(cleaner: &Cleaner, store: StoreKind) -> Finding {
    let (mut inventory, policy) = (inventory(), policy());
    inventory.engine.store = store;
    let newest = newest(&policy, &inventory, &[]);
    let stock = Stock { inventory: &inventory, policy: &policy, newest: &newest, now: NOW };
    judge(std::slice::from_ref(cleaner), Some(&stock)).remove(0)
}

#[test]
fn a_prune_of_all_names_what_it_takes_and_how_to_stop_it() {
    let found = judged(&cron("0 3 * * *", "docker system prune -af"), StoreKind::Graphdriver);
    assert_eq!((found.level, found.id), (Level::Problem, "cleaner.cron"));
    assert_eq!(
        found.what,
        "/etc/cron.d/cleanup:3 runs `docker system prune -af` every day at 03:00 (0 3 * * *): it removes every image \
         without a running container; now that would be 2 kept images (ghcr.io/acme/base:1, ghcr.io/acme/cache:py), 1 of \
         the newest runtime tags (ghcr.io/acme/app:sha-2), 2 other images: 4.46 GB"
    );
    assert!(found.mend.starts_with("sudo sed -i '3s/^/# /' /etc/cron.d/cleanup. Instead, "), "{}", found.mend);
    assert!(found.why.starts_with("What is kept comes back"), "{}", found.why);
}

#[test]
fn how_bad_it_is_depends_on_what_goes_and_on_the_store() {
    use StoreKind::{Containerd, Graphdriver};
    for (command, store, level) in [
        ("docker image prune -f", Graphdriver, Level::Note),
        ("docker image prune -f", Containerd, Level::Warning),
        ("docker image prune -af", Graphdriver, Level::Problem),
        ("docker image prune -af --filter until=9600h", Graphdriver, Level::Warning),
        ("docker rmi acme/old:1", Graphdriver, Level::Note),
        ("docker rmi ghcr.io/acme/base:1", Graphdriver, Level::Problem),
        ("podman system prune -af", Containerd, Level::Note),
    ] {
        assert_eq!(judged(&cron("0 3 * * *", command), store).level, level, "{command} on {store}");
    }
    let found = judged(&cron("0 3 * * *", "docker image prune -f"), Containerd);
    assert!(found.why.contains("ends every pull in flight"), "{}", found.why);
}

#[test]
fn each_kind_has_its_own_way_to_be_stopped() {
    let base = cron("@daily", "docker image prune -af");
    let unit = |unit: &str| unit.to_owned();
    for (kind, id, mend) in [
        (
            Kind::Spool { user: "ann".into() },
            "cleaner.cron",
            "sudo crontab -u ann -e, and take the line with `docker image prune -af` out",
        ),
        (Kind::Periodic, "cleaner.cron", "sudo chmod -x /etc/cron.d/cleanup"),
        (Kind::Timer { unit: unit("p.timer"), enabled: true }, "cleaner.timer", "sudo systemctl disable --now p.timer"),
        (
            Kind::Service { unit: unit("p.service"), enabled: true },
            "cleaner.service",
            "sudo systemctl disable --now p.service",
        ),
    ] {
        let found = judged(&Cleaner { kind, ..base.clone() }, StoreKind::Graphdriver);
        assert_eq!(found.id, id);
        assert!(found.mend.starts_with(mend), "{}", found.mend);
    }
    let off = Kind::Timer { unit: unit("p.timer"), enabled: false };
    let found = judged(&Cleaner { kind: off, ..base }, StoreKind::Graphdriver);
    assert!(found.level == Level::Note && found.what.contains("is not enabled"), "{found:?}");
}

#[test]
fn what_does_other_work_too_is_never_stopped() {
    let base = Cleaner { alone: false, ..cron("@daily", "docker image prune -af") };
    let timer = || Kind::Timer { unit: "app.timer".into(), enabled: true };
    let unit = |place: &str| format!("/etc/systemd/system/{place}");
    for (kind, place, through, mend) in [
        (
            Kind::Crontab,
            "/etc/crontab:3".to_owned(),
            None,
            "take `docker image prune -af` out of /etc/crontab:3; the rest",
        ),
        (Kind::Spool { user: "ann".into() }, "/x:3".to_owned(), None, "sudo crontab -u ann -e, and take `docker image"),
        (
            Kind::Periodic,
            "/etc/cron.daily/x:3".to_owned(),
            None,
            "take `docker image prune -af` out of /etc/cron.daily/x:3",
        ),
        (
            timer(),
            unit("app.service:3"),
            None,
            "sudo systemctl edit --full app.service, and take `docker image prune -af`",
        ),
        (
            Kind::Service { unit: "app.service".into(), enabled: true },
            unit("app.service.d/x.conf:2"),
            None,
            "take `docker image prune -af` out of /etc/systemd/system/app.service.d/x.conf:2, then sudo systemctl daemon-",
        ),
        (
            timer(),
            unit("app.service:3"),
            Some("/opt/clean:7"),
            "take `docker image prune -af` out of /opt/clean:7; the rest",
        ),
    ] {
        let through = through.map(str::to_owned);
        let found = judged(&Cleaner { kind, place, through, ..base.clone() }, StoreKind::Graphdriver);
        assert!(found.mend.starts_with(mend), "{}", found.mend);
        assert!(!["disable", "chmod", "sed"].iter().any(|word| found.mend.contains(word)), "{}", found.mend);
    }
}

#[test]
fn containers_that_clean_are_told_by_what_they_are() {
    for (name, level, words) in [
        ("coolify-proxy", Level::Problem, "belongs to Coolify"),
        ("watchtower", Level::Warning, "restarts containers"),
        ("kamal-proxy", Level::Note, "images without a tag"),
        ("docuum", Level::Problem, "what docuum takes for unused"),
    ] {
        let base = cron("0 0 * * *", "docker image prune -f");
        let act = program(name).unwrap();
        let found = judged(&Cleaner { kind: Kind::Container, place: name.into(), act, ..base }, StoreKind::Graphdriver);
        assert_eq!((found.level, found.id), (level, "cleaner.container"), "{name}");
        assert!(found.what.contains(words) && !found.mend.is_empty(), "{found:?}");
    }
}

#[test]
fn without_the_engine_the_rule_is_told_and_with_nobody_there_is_one_good_line() {
    let found = judge(&[cron("@daily", "docker image prune -af")], None).remove(0);
    assert_eq!(found.level, Level::Warning);
    assert!(found.what.ends_with("what that is here cannot be told without the engine"), "{}", found.what);
    assert_eq!(judge(&[], None)[0].level, Level::Ok);
    assert_eq!(acts("true"), []);
}
