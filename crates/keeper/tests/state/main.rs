//! A deploy server to which anything may happen, in any order: after every step the invariants of the design hold.
//!
//! `LAYERKEEPER_STATE_CASES` sequences of 100 steps (1,000 unless it says so), made from `LAYERKEEPER_STATE_SEED`. One that
//! fails is made as short as it can be, and printed with a line per step.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod builds;
mod calm;
mod happen;
mod jobs;
mod ledger;
mod operation;
mod outside;
mod pace;
mod pulled;
mod removal;
mod shorten;
mod trouble;
mod witness;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use layerkeeper_core::StoreKind;
use ledger::Tally;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use trouble::Step;
use world::World;

const STEPS: usize = 100;

/// Runs a sequence; the whole story where an invariant broke.
fn live_through(steps: &[Step], kind: StoreKind) -> Result<Tally, String> {
    pace::stand_still(async {
        let mut world = World::new(kind).await;
        for step in steps {
            world.step(step).await;
            if !world.ledger.lock().unwrap().wrong.is_empty() {
                break;
            }
        }
        if world.ledger.lock().unwrap().wrong.is_empty() {
            world.calm().await;
        }
        let ledger = world.ledger.lock().unwrap();
        if ledger.wrong.is_empty() {
            return Ok(ledger.tally);
        }
        Err(format!("{}\n\n{}", ledger.wrong.join("\n"), world.log.join("\n")))
    })
}

fn from_env(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect(name))
}

#[test]
fn the_invariants_hold_after_every_step_whatever_happens() {
    let begun = Instant::now();
    let (steps, seed) = (from_env("LAYERKEEPER_STATE_STEPS", 100_000), from_env("LAYERKEEPER_STATE_SEED", 1));
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64).clamp(2, 8);
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Tally::default());
    let next = AtomicU64::new(0);
    let goes_on = || !failed.load(Ordering::SeqCst) && total.lock().unwrap().steps < steps;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while goes_on() {
                    let seed = from_env("ONE", 0) + seed * 1_000_000 + next.fetch_add(1, Ordering::SeqCst);
                    if let Err(story) = one_life(seed, &total) {
                        failed.store(true, Ordering::SeqCst);
                        panic!("seed {seed}: {story}");
                    }
                }
            });
        }
    });
    let total = total.lock().unwrap();
    println!("{total:?}, {:.0} steps/s", total.steps as f64 / begun.elapsed().as_secs_f64());
}

/// One sequence; where it fails, made as short as it can be.
fn one_life(seed: u64, total: &Mutex<Tally>) -> Result<(), String> {
    let config = Config {
        cases: 1,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_time: 60_000,
        max_shrink_iters: from_env("SHRINK", 100000) as u32,
        ..Config::default()
    };
    let ran = TestRunner::new(config).run(&trouble::sequence(STEPS), |(kind, story)| {
        let tally = live_through(&story, kind).map_err(TestCaseError::fail)?;
        total.lock().unwrap().add(&tally);
        Ok(())
    });
    ran.map_err(|error| error.to_string())
}
