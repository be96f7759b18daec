//! When kept images are due: cron lines in time zones whose clocks change, and the jitter.

use std::time::Duration;

use chrono::DateTime;
use layerkeeper_core::{StoreKind, Timestamp};
use layerkeeper_keeper::KeepSchedule;
use layerkeeper_keeper::schedule::{jitter, next_due};

use crate::ground::{Ground, name, policy, settings};

fn schedule(line: &str, zone: &str) -> KeepSchedule {
    KeepSchedule {
        image: name("base:1"),
        cron: line.parse().unwrap(),
        text: line.to_owned(),
        timezone: zone.parse().unwrap(),
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis())
}

/// The next instants after `after`, in UTC.
fn next(line: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(line, zone);
    let mut last = at(after);
    let mut due = Vec::new();
    for _ in 0..count {
        last = next_due(&schedule, last).unwrap();
        due.push(last.to_string());
    }
    due
}

#[test]
fn a_line_is_read_in_its_own_zone() {
    let due = next("0 0 3 * * *", "Asia/Shanghai", "2026-03-01T00:00:00Z", 2);
    assert_eq!(due, ["2026-03-01T19:00:00Z", "2026-03-02T19:00:00Z"]);
    let due = next("0 0 3 * * *", "UTC", "2026-03-01T03:00:00Z", 1);
    assert_eq!(due, ["2026-03-02T03:00:00Z"], "after the instant, not at it");
}

/// Berlin, 2026-03-29: 02:00 becomes 03:00. What is due every day at 03:00 moves by an hour of UTC and is never left out.
#[test]
fn the_day_goes_on_by_the_wall_clock_when_clocks_are_put_forward() {
    let due = next("0 0 3 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3);
    assert_eq!(due, ["2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]);
}

/// 02:30 does not exist that night: it comes once within the day all the same, and the next day at its own time.
#[test]
fn a_time_in_the_gap_comes_once() {
    let due = next("0 30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert!(at(&due[0]) >= at("2026-03-29T01:00:00Z") && at(&due[0]) <= at("2026-03-29T01:30:00Z"), "{due:?}");
    assert_eq!(due[1], "2026-03-30T00:30:00Z");
}

/// Berlin, 2026-10-25: 03:00 becomes 02:00, so 02:30 comes twice by the clock and once by the schedule.
#[test]
fn a_time_in_the_fold_comes_once() {
    let due = next("0 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
    assert_eq!(due, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
}

/// Shanghai's clocks were changed last in 1991: on 14 April 02:00 became 03:00, on 15 September 02:00 became 01:00.
#[test]
fn shanghai_had_gaps_and_folds_too() {
    let due = next("0 30 2 * * *", "Asia/Shanghai", "1991-04-13T00:00:00Z", 2);
    assert!(at(&due[0]) >= at("1991-04-13T18:00:00Z") && at(&due[0]) <= at("1991-04-13T18:30:00Z"), "{due:?}");
    assert_eq!(due[1], "1991-04-14T17:30:00Z");
    let due = next("0 30 1 * * *", "Asia/Shanghai", "1991-09-14T00:00:00Z", 2);
    assert_eq!(due, ["1991-09-14T16:30:00Z", "1991-09-15T17:30:00Z"]);
}

#[test]
fn a_line_that_never_comes_true_has_no_next_instant() {
    assert_eq!(next_due(&schedule("0 0 3 30 2 *", "UTC"), at("2026-01-01T00:00:00Z")), None);
}

#[test]
fn the_jitter_is_the_same_for_one_host_and_tick_and_differs_between_them() {
    let most = Duration::from_secs(300);
    let due = at("2026-03-01T03:00:00Z");
    assert_eq!(jitter("a", due, most), jitter("a", due, most));
    assert_eq!(jitter("a", due, Duration::ZERO), Duration::ZERO);
    let hosts: Vec<Duration> = (0..100).map(|n| jitter(&format!("host-{n}"), due, most)).collect();
    assert!(hosts.iter().all(|delay| *delay < most));
    let early = hosts.iter().filter(|delay| **delay < most / 2).count();
    assert!((25..75).contains(&early), "spread over the whole time: {early} of 100 in its first half");
    let ticks: Vec<Duration> =
        (1..=20).map(|day| jitter("a", due.plus(Duration::from_secs(86_400 * day)), most)).collect();
    assert!(ticks.windows(2).any(|pair| pair[0] != pair[1]), "another delay at another tick");
}

/// The keeper's clock stands at 2027-01-15T08:00:00Z.
#[tokio::test]
async fn a_reload_with_another_line_counts_at_once() {
    let ground = Ground::new(StoreKind::Graphdriver, policy()).await;
    for (line, zone, wanted) in [
        ("0 0 3 * * *", "UTC", "2027-01-16T03:00:00Z"),
        ("0 0 20 * * *", "UTC", "2027-01-15T20:00:00Z"),
        ("0 0 20 * * *", "Asia/Shanghai", "2027-01-15T12:00:00Z"),
        ("0 0 3 * * *", "UTC", "2027-01-16T03:00:00Z"),
    ] {
        let mut told = settings(policy());
        told.schedules = vec![schedule(line, zone)];
        ground.keeper.reload(told);
        let mut next = None;
        for _ in 0..500 {
            next = ground.keeper.status().await.kept[0].next_run;
            if next == Some(at(wanted).0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(next.map(|at| Timestamp(at).to_string()), Some(wanted.to_owned()), "{line} in {zone}");
    }
}
