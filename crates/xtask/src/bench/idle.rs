//! What a daemon costs that has nothing to do, and how soon it is there.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use layerkeeper_testkit::Scratch;

use super::machine::Patience;
use super::report::Section;
use super::samples::Samples;
use super::{Ground, webhook};
use crate::server::binary;
use crate::usage::{Memory, processor_time};

const STARTS: usize = 11;
const SETTLE: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(60);

/// How long after its exec a daemon said each of these.
struct Start {
    notified: Duration,
    healthy: Duration,
    ready: Duration,
}

/// Starts, rests, works and rests again.
pub fn measure(patience: Patience) -> Result<Section> {
    let mut ground = Ground::prepare()?;
    ground.start()?;
    ground.server.stop()?;
    patience.wait()?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(start(&mut ground)?);
        ground.server.stop()?;
    }
    ground.start()?;
    let pid = ground.server.pid()?;
    std::thread::sleep(SETTLE);
    let after_start = Memory::of(pid)?;
    patience.wait()?;
    let before = processor_time(pid)?;
    std::thread::sleep(REST);
    let percent = (processor_time(pid)? - before) / REST.as_secs_f64() * 100.0;
    webhook::burst(&ground, 0)?;
    std::thread::sleep(SETTLE);
    let after_burst = Memory::of(pid)?;
    ground.server.stop()?;

    let size = fs::metadata(binary("release")).context("there is no release build")?.len();
    let times = |of: fn(&Start) -> Duration| Samples::of_times(starts.iter().map(of)).context("nothing was measured");
    let (notified, healthy, ready) = (times(|s| s.notified)?, times(|s| s.healthy)?, times(|s| s.ready)?);
    let mut section = Section::new("Idle");
    section.target("resident after start", after_start.resident, 16.0, " MiB", 1);
    section.target("resident after a burst of 4,000 webhooks", after_burst.resident, 24.0, " MiB", 1);
    section.target("processor, idle for 60 s, of a core", percent, 0.1, " %", 3);
    section.target("binary", size as f64 / f64::from(1 << 20), 20.0, " MiB", 1);
    section.target("exec to ready, median", ready.median(), 200.0, " ms", 1);
    section.text(format!(
        "With an engine (20.10) and three kept images that are here. Memory 10 s after the start and 10 s after the burst. \
         {STARTS} starts on the same state, milliseconds from exec, asked for every 2 ms:"
    ));
    section.table(
        &["", "ms"],
        &[
            vec!["`READY=1` to the service manager".to_owned(), notified.shown(1)],
            vec!["`/healthz` answers 200".to_owned(), healthy.shown(1)],
            vec!["`/readyz` answers 200: the first look at the engine is done".to_owned(), ready.shown(1)],
        ],
    );
    section.text("Memory in MiB:");
    let row = |name: &str, memory: &Memory| {
        let shown = [memory.resident, memory.anonymous, memory.file, memory.peak].map(|mib| format!("{mib:.1}"));
        std::iter::once(name.to_owned()).chain(shown).collect::<Vec<_>>()
    };
    section.table(
        &["", "resident (VmRSS)", "of it its own (RssAnon)", "of it files (RssFile)", "peak (VmHWM)"],
        &[row("after start", &after_start), row("after the burst", &after_burst)],
    );
    Ok(section)
}

/// Starts the daemon and notes when it says what.
fn start(ground: &mut Ground) -> Result<Start> {
    let scratch = Scratch::new("notify")?;
    let path = scratch.path().join("socket");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let begun = Instant::now();
    ground.server.spawn(Some(&path))?;
    std::thread::scope(|scope| {
        let notified = scope.spawn(|| -> Result<Duration> {
            let mut text = [0; 4096];
            loop {
                let length = socket.recv(&mut text).context("no READY=1 came")?;
                if String::from_utf8_lossy(&text[..length]).lines().any(|line| line == "READY=1") {
                    return Ok(begun.elapsed());
                }
            }
        });
        let healthy = until(ground, "/healthz", begun)?;
        let ready = until(ground, "/readyz", begun)?;
        let notified = notified.join().map_err(|_| anyhow::anyhow!("the thread that listens died"))??;
        Ok(Start { notified, healthy, ready })
    })
}

fn until(ground: &Ground, path: &str, begun: Instant) -> Result<Duration> {
    while !ground.server.answers(path) {
        ensure!(begun.elapsed() < Duration::from_secs(20), "{path} is not 200 after 20 s: {}", ground.server.log()?);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(begun.elapsed())
}
