//! Who is asked next, by what each has given.

use super::*;

const MB: u64 = 1_000_000;

fn sources() -> Sources {
    Sources::new(["origin.io/a", "mirror.lan:5000/a"].map(|text| text.parse().unwrap()))
}

fn piece(landed: u64, seconds: f64, trouble: Option<Trouble>) -> Fetched {
    let took = Duration::from_secs_f64(seconds);
    Fetched { range: 0..landed, landed, crc: 0, came: landed, etag: None, took, trouble }
}

fn unreachable() -> Option<Trouble> {
    Some(Trouble::Source(SourceError::Unreachable { registry: "r".into(), cause: "c".into() }))
}

#[tokio::test(start_paused = true)]
async fn the_faster_one_is_asked_and_the_other_looked_at_now_and_then() {
    let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
    assert_eq!(sources.choose(&none, now), Some(0), "nothing is known: the origin");
    sources.fetched(0, &piece(MB, 1.0, None), now);
    assert_eq!(sources.choose(&none, now), Some(1), "of the mirror nothing is known yet");
    sources.fetched(1, &piece(2 * MB, 1.0, None), now);
    let chosen: Vec<usize> = (0..48).filter_map(|_| sources.choose(&none, now)).collect();
    assert_eq!(chosen.iter().filter(|at| **at == 0).count(), 2, "{chosen:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_has_shown_nothing_yet_gets_one_piece_and_one_without_ranges_none() {
    let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
    sources.fetched(0, &piece(MB, 1.0, None), now);
    assert_eq!(sources.choose(&none, now), Some(1));
    sources.sent(1);
    assert!((0..16).all(|_| sources.choose(&none, now) == Some(0)), "the mirror may be dead");
    sources.fetched(1, &piece(0, 0.1, Some(Trouble::NoRanges)), now);
    assert!((0..16).all(|_| sources.choose(&none, now) == Some(0)), "the mirror would keep the origin from the blob");
    assert_eq!(sources.choose(&BTreeSet::from([0]), now), Some(1), "but it is better than nobody");
}

#[tokio::test(start_paused = true)]
async fn one_without_ranges_does_not_step_in_for_a_moments_rest() {
    let busy = |registry: &str, later| {
        let busy = SourceError::Server {
            registry: registry.into(),
            status: 503,
            retry_after: later,
            detail: Default::default(),
        };
        piece(0, 0.1, Some(Trouble::Source(busy)))
    };
    let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
    sources.fetched(0, &piece(MB, 1.0, None), now);
    sources.fetched(1, &piece(0, 0.1, Some(Trouble::NoRanges)), now);
    sources.fetched(0, &busy("r", None), now);
    assert!(sources.get(0).rests(now));
    assert_eq!(sources.choose(&none, now), None);
    let now = now + Duration::from_secs(5);
    assert_eq!(sources.choose(&none, now), Some(0));
    sources.fetched(0, &busy("r", Some(Duration::from_secs(900))), now);
    assert_eq!(sources.choose(&none, now), Some(1), "for long it does");
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_wants_to_be_left_alone_for_long_is_passed_over_soon() {
    let mut sources = sources().and_caches(["cache.lan/a".parse().unwrap()]);
    let mut now = Instant::now();
    for _ in 0..MOST_FAILURES_OF_CACHE {
        let later = Some(Duration::from_secs(900));
        let busy =
            SourceError::Server { registry: "r".into(), status: 503, retry_after: later, detail: Default::default() };
        sources.fetched(2, &piece(0, 0.1, Some(Trouble::Source(busy))), now);
        now += LONGEST_REST_OF_CACHE + Duration::from_millis(1);
    }
    assert_eq!(sources.cache(&BTreeSet::new()), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_mirror_is_named_and_left_alone() {
    let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
    for _ in 0..2 {
        sources.fetched(0, &piece(8 * MB, 1.0, None), now);
        sources.fetched(1, &piece(MB, 1.0, None), now);
    }
    assert!((0..100).all(|_| sources.choose(&none, now) == Some(0)));
    let remarks = sources.remarks();
    assert!(remarks[0].starts_with("mirror.lan:5000 was passed over: it gives 1.00 MB/s"), "{remarks:?}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_rests_and_what_fails_again_and_again_is_passed_over() {
    let (mut sources, none, now) = (sources(), BTreeSet::from([1]), Instant::now());
    sources.fetched(0, &piece(0, 1.0, unreachable()), now);
    assert_eq!(sources.choose(&none, now), None);
    assert!(!sources.is_hopeless(&none));
    assert_eq!(sources.choose(&none, now + Duration::from_secs(60)), Some(0));
    for round in 1..u64::from(MOST_FAILURES) {
        // what breaks off while it rests was under way before
        for _ in 0..4 {
            sources.fetched(0, &piece(0, 1.0, unreachable()), now + Duration::from_secs(60 * round));
        }
    }
    assert!(sources.is_hopeless(&none));
    let reasons = sources.reasons(&none);
    assert!(reasons[0].contains("failed 6 times in a row") && reasons[1].ends_with("does not have it"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cache_comes_before_all_and_is_waited_for_while_it_gives_anything() {
    let mut sources = sources().and_caches(["cache.lan/a".parse().unwrap()]);
    let (none, now) = (BTreeSet::new(), Instant::now());
    assert_eq!(sources.cache(&none), Some(2));
    assert_eq!(sources.cache(&BTreeSet::from([2])), None, "it does not have it");
    let at = |seconds| now + Duration::from_secs(seconds);
    let mut fills = |seconds| sources.get_mut(2).is_filling(Digest::of(b"x"), 10 * MB, at(seconds));
    fills(0);
    fills(79);
    sources.fetched(2, &piece(MB, 1.0, None), at(80));
    let mut fills = |seconds| sources.get_mut(2).is_filling(Digest::of(b"x"), 10 * MB, at(seconds));
    fills(81);
    fills(161);
    assert_eq!(sources.cache(&none), Some(2), "it gave something in between");
    sources.get_mut(2).is_filling(Digest::of(b"x"), 10 * MB, at(162));
    assert_eq!((sources.cache(&none), sources.choose(&none, at(162))), (None, Some(0)));
    assert!(sources.remarks()[0].contains("cache.lan was passed over: it gave nothing for 80 s"), "{sources:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_cache_is_waited_for_three_seconds() {
    let mut sources = sources().and_caches(["cache.lan/a".parse().unwrap()]);
    let (begun, mut now) = (Instant::now(), Instant::now());
    while sources.cache(&BTreeSet::new()).is_some() {
        if !sources.get(2).rests(now) {
            sources.fetched(2, &piece(0, 0.0, unreachable()), now);
        }
        now += Duration::from_millis(50);
    }
    assert!((2..4).contains(&(now - begun).as_secs()), "{:?}", now - begun);
}

#[tokio::test(start_paused = true)]
async fn who_gives_something_each_time_is_asked_again_for_ever() {
    let (mut sources, none, mut now) = (sources(), BTreeSet::from([1]), Instant::now());
    for _ in 0..50 {
        sources.fetched(0, &piece(MB, 1.0, unreachable()), now);
        now += Duration::from_secs(10);
    }
    assert_eq!(sources.choose(&none, now), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_lie_and_a_refusal_end_it_at_once() {
    for trouble in [
        Trouble::Lie("says that the blob has 3 bytes".to_owned()),
        Trouble::Source(SourceError::Malformed { what: "x".into() }),
    ] {
        let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
        sources.fetched(1, &piece(0, 0.1, Some(trouble)), now);
        assert!(sources.get(1).passed_over.is_some());
        assert_eq!(sources.choose(&none, now), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_connection_was_cut_is_slow_and_does_not_fail() {
    let (mut sources, none, now) = (sources(), BTreeSet::new(), Instant::now());
    sources.fetched(0, &piece(MB, 1.0, None), now);
    sources.fetched(1, &piece(50_000, 10.0, Some(Trouble::Slow)), now);
    assert!((0..100).all(|_| sources.choose(&none, now) == Some(0)));
    assert!(sources.remarks()[0].starts_with("mirror.lan:5000 was passed over: it gives 5.00 kB/s"), "{sources:?}");
    // the only one that has it
    for _ in 0..100 {
        sources.fetched(0, &piece(50_000, 10.0, Some(Trouble::Slow)), now);
    }
    assert_eq!(sources.choose(&BTreeSet::from([1]), now), Some(0));
}

#[tokio::test(start_paused = true)]
async fn one_connection_that_was_cut_does_not_make_a_good_source_slow() {
    let (mut sources, none, now) = (sources(), BTreeSet::from([1]), Instant::now());
    for _ in 0..4 {
        sources.fetched(0, &piece(MB, 1.0, None), now);
        sources.fetched(1, &piece(MB, 1.0, None), now);
    }
    sources.fetched(0, &piece(50_000, 10.0, Some(Trouble::Slow)), now);
    assert_eq!((sources.remarks().len(), sources.choose(&none, now)), (0, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn no_registry_is_asked_by_more_at_once_than_it_bears() {
    let (mut sources, none, now) = (sources().each_at_most(3), BTreeSet::new(), Instant::now());
    sources.fetched(0, &piece(2 * MB, 1.0, None), now);
    sources.fetched(1, &piece(MB, 1.0, None), now);
    assert_eq!((sources.bear(16), sources.bear(4)), (6, 4));
    let send = |_| sources.choose(&none, now).inspect(|at| sources.sent(*at));
    let sent: Vec<usize> = (0..16).filter_map(send).collect();
    assert_eq!(sent, [0, 0, 0, 1, 1, 1]);
    assert!(!sources.is_hopeless(&none), "they will have time again");
    sources.fetched(0, &piece(2 * MB, 1.0, None), now);
    assert_eq!(sources.choose(&none, now), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_does_not_take_the_place_of_one_that_is_asked_by_as_many_as_it_bears() {
    let (mut sources, none, now) = (sources().each_at_most(1), BTreeSet::new(), Instant::now());
    for _ in 0..2 {
        sources.fetched(0, &piece(8 * MB, 1.0, None), now);
        sources.fetched(1, &piece(MB, 1.0, None), now);
    }
    sources.sent(0);
    assert_eq!((sources.choose(&none, now), sources.bear(16)), (None, 1));
}
