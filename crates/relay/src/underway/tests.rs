//! Who is cut, and above all who is not.

use super::*;

const MB: u64 = 1_000_000;

const NOBODY: [u64; 0] = [];

/// Requests, each with the bytes per second that it gives, and a clock.
struct Link {
    underway: Underway,
    running: Vec<(Pass, u64)>,
    now: Instant,
}

impl Link {
    fn new() -> Self {
        Self { underway: Underway::default(), running: Vec::new(), now: Instant::now() }
    }

    fn begin(&mut self, blob: &str, source: usize, rate: u64) -> Pass {
        let pass = self.underway.begin((Digest::of(blob.as_bytes()), source), true, self.now);
        self.running.push((pass.clone(), rate));
        pass
    }

    fn end(&mut self, pass: &Pass) {
        self.running.retain(|(other, _)| other.number != pass.number);
        self.underway.end(pass.number, self.now);
    }

    fn all_give(&mut self, rate: u64) {
        self.running.iter_mut().for_each(|(_, now)| *now = rate);
    }

    /// Gives who was cut meanwhile; what was cut ends.
    fn run(&mut self, seconds: u64) -> Vec<u64> {
        let mut cut = Vec::new();
        for _ in 0..4 * seconds {
            self.now += Duration::from_millis(250);
            for (pass, rate) in &self.running {
                pass.came.fetch_add(rate / 4, Ordering::Relaxed);
            }
            self.underway.cut_slow(self.now);
            let ended: Vec<Pass> = self.running.iter().map(|(pass, _)| pass.clone()).collect();
            for pass in ended.into_iter().filter(|pass| pass.cut.is_cancelled()) {
                self.end(&pass);
                cut.push(pass.number);
            }
        }
        cut
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_trickles_beside_others_is_cut_and_what_goes_on_alone_is_not() {
    let mut link = Link::new();
    let slow = link.begin("x", 0, 5_000);
    let quick: Vec<Pass> = (0..15).map(|_| link.begin("x", 0, MB)).collect();
    assert_eq!(link.run(2), NOBODY, "not yet");
    quick.iter().for_each(|pass| link.end(pass));
    assert_eq!(link.run(9), [slow.number], "after ten seconds, though the others have long ended");
    link.begin("x", 0, 5_000);
    assert_eq!(link.run(3600), NOBODY);
}

#[tokio::test(start_paused = true)]
async fn one_that_begins_to_trickle_late_is_cut_too() {
    let mut link = Link::new();
    for _ in 0..8 {
        link.begin("x", 0, MB);
    }
    assert_eq!(link.run(25), NOBODY);
    link.running[3].1 = 5_000;
    let number = link.running[3].0.number;
    assert_eq!(link.run(25), [number]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_is_no_reason_whether_it_was_always_so_or_comes_to_be() {
    for rate in [500, 5_000, 100_000] {
        let mut link = Link::new();
        for _ in 0..16 {
            link.begin("x", 0, rate);
        }
        assert_eq!(link.run(600), NOBODY, "{rate}");
    }
    for quick in (0..12).chain([30, 100]) {
        let mut link = Link::new();
        for _ in 0..16 {
            link.begin("x", 0, 4 * MB);
            assert_eq!(link.run(1), NOBODY);
        }
        assert_eq!(link.run(quick), NOBODY);
        link.all_give(2_000);
        assert_eq!(link.run(200), NOBODY, "after {quick} s");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_has_its_share_of_a_link_that_others_left_is_not_cut() {
    let mut link = Link::new();
    link.begin("x", 0, 60_000);
    let others: Vec<Pass> = (0..15).map(|_| link.begin("x", 0, 60_000)).collect();
    link.run(3);
    others.iter().for_each(|pass| link.end(pass));
    link.all_give(40_000);
    assert_eq!(link.run(600), NOBODY);
}

#[tokio::test(start_paused = true)]
async fn only_the_same_blob_or_source_says_what_can_be_had() {
    let mut link = Link::new();
    link.begin("only at the origin", 0, 50_000);
    link.begin("in the cache", 1, 50 * MB);
    assert_eq!(link.run(600), NOBODY, "the cache does not have the first");
    let mirrored = link.begin("in the cache", 2, 50_000);
    assert_eq!(link.run(11), [mirrored.number], "the same blob comes faster from elsewhere");
    link.begin("another", 0, 10 * MB);
    assert_eq!(link.run(11), [0], "the origin gives more over another connection");
}

#[tokio::test(start_paused = true)]
async fn a_moment_of_a_few_bytes_and_who_gave_nothing_at_all_cut_nobody() {
    let mut link = Link::new();
    link.begin("x", 0, 1000);
    let small = link.begin("y", 0, 400_000);
    link.run(1);
    link.end(&small);
    assert_eq!(link.run(600), NOBODY, "0.4 MB say nothing");
    let mut link = Link::new();
    link.begin("x", 0, 0);
    link.begin("x", 0, MB);
    assert_eq!(link.run(600), NOBODY, "the client's own patience ends that");
}

#[tokio::test(start_paused = true)]
async fn what_is_read_from_the_beginning_each_time_is_never_cut() {
    let mut link = Link::new();
    let whole = link.underway.begin((Digest::of(b"x"), 0), false, link.now);
    link.running.push((whole, 5_000));
    link.begin("y", 0, MB);
    assert_eq!(link.run(600), NOBODY);
}
