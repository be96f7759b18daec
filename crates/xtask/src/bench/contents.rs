//! What a copied layer of 1 GB repeats of a kept image, measured by a daemon with nothing else to do: its memory, what that
//! writes to the engine's disk, and its speed beside one program that reads the same files where they lie.

mod disk;
mod venv;

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use layerkeeper_core::Bytes;
use layerkeeper_testkit::{Auth, Engine, EngineKind, Pushed, Registry};

use super::machine::Patience;
use super::report::Section;
use super::samples::Samples;
use super::title;
use crate::server::{Server, Settings};
use crate::usage::{Memory, forget_peak, processor_time, written};

const TARGET_MIB: f64 = 64.0;
/// Of a hundred bytes of the layer, so many may be written for its comparison: no copy of it.
const TARGET_WRITTEN: f64 = 1.0;
/// What the daemon logs when it has compared, once per layer and kept image.
const TOLD: &str = "once more";

const COSTS: &str = "Memory, in MiB: the daemon's peak (VmHWM) from before the deploy to the comparison's end less what it had before (VmRSS), \
     and that peak itself. Disk, in MB: what dockerd, containerd and their children had written during the comparison \
     (`write_bytes`), what the daemon had, and how much larger the data root was after it; the target takes what both wrote, \
     or that growth where it is more. Beside it one `docker save` of the same image, read to its end, which is the other way \
     to an image's content:";
const COSTS_HEAD: [&str; 8] = [
    "engine",
    "memory",
    "peak",
    "written by the engine",
    "by the daemon",
    "data root larger",
    "written by `docker save`",
    "its seconds",
];

/// One comparison.
struct Round {
    /// None of the files was in memory when it began.
    cold: bool,
    seconds: f64,
    /// Of the daemon's own processor time.
    processor: f64,
    /// By how much the daemon's memory grew at most, from before the deploy on.
    grew_mib: f64,
    /// Its peak.
    peak_mib: f64,
    /// Written to a disk by the engine and by the daemon, and how much larger the engine's data root is.
    written: u64,
    ours: u64,
    larger: i64,
    /// The same files by one thread: read and hashed.
    direct: f64,
}

struct Host<'a> {
    // before the engine that it talks to
    server: Server,
    engine: &'a Engine,
    runtime: &'a Pushed,
    patience: Patience,
}

/// Measures on each of these engines.
pub fn measure(engines: &[EngineKind], rounds: usize, patience: Patience) -> Result<Section> {
    let registry = Registry::start(Auth::Open)?;
    let venv::Images { base, python, runtime, files } = venv::push(&registry)?;
    let mut section = Section::new("Contents");
    let (mut rows, mut costs) = (Vec::new(), Vec::new());
    for &kind in engines {
        let engine = Engine::start(kind)?;
        let name = title(&engine)?;
        eprintln!("bench: contents on {name}");
        let server = Server::start(&Settings {
            engine: &engine,
            registry: &registry.host(),
            kept: vec![&base.name, &python.name],
            runtime: "prune_tags = [\"sha-*\"]",
            more: "",
            profile: "release",
        })?;
        server.facts(&["status", "--wait-idle"])?;
        let host = Host { server, engine: &engine, runtime: &runtime, patience };
        // the first one brings what is read for the first time, and is thrown away
        host.round(false, files)?;
        let rounds =
            (0..2 * rounds.div_ceil(2)).map(|at| host.round(at % 2 == 1, files)).collect::<Result<Vec<_>>>()?;
        let of = |value: &dyn Fn(&Round) -> f64| Samples::new(rounds.iter().map(value)).context("nothing was measured");
        let memory = of(&|round| round.grew_mib)?;
        section.target(&format!("memory of a comparison, most, engine {name}"), memory.most(), TARGET_MIB, " MiB", 1);
        let written = of(&|round| round.share_written(files.each.bytes))?.most();
        section.target(
            &format!("written for a comparison, most, engine {name}"),
            written,
            TARGET_WRITTEN,
            " % of the layer",
            2,
        );
        for cold in [false, true] {
            rows.push(speed(&name, cold, &rounds, files)?);
        }
        costs.push(cost(name, &rounds, host.save()?)?);
    }
    section.text(format!(
        "A deploy's layer `COPY --from=python-deps /opt/venv /opt/venv` against the kept image whose `RUN pip install` made \
         these files: {}, {} of them the same ({}). When the deploy has ended the daemon reads `/opt/venv` of both, {} in all, \
         through containers that never start. {} rounds, half with all files in memory, half with none of them (the daemon \
         stands still while they are dropped). Right after, one thread reads the same files where the engine keeps them, in \
         pieces of 64 KiB, and takes their SHA-256 (ring). Seconds, and MB of files per second:",
        venv::described(files.each),
        venv::described(files.same),
        files.share(),
        Bytes(2 * files.each.bytes),
        2 * rounds.div_ceil(2),
    ));
    let head = [
        "engine",
        "files in memory",
        "comparison",
        "MB/s",
        "of it the daemon's processor",
        "read and hashed by one thread",
        "MB/s",
        "ratio round by round",
    ];
    section.table(&head, &rows);
    section.text(COSTS);
    section.table(&COSTS_HEAD, &costs);
    Ok(section)
}

fn speed(engine: &str, cold: bool, rounds: &[Round], files: venv::Files) -> Result<Vec<String>> {
    let rounds = || rounds.iter().filter(move |round| round.cold == cold);
    let of = |value: fn(&Round) -> f64| Samples::new(rounds().map(value)).context("nothing was measured");
    let (ours, direct, ratio) = (of(|r| r.seconds)?, of(|r| r.direct)?, of(|r| r.seconds / r.direct)?);
    let rate = |seconds: f64| format!("{:.0}", 2.0 * files.each.bytes as f64 / 1e6 / seconds);
    let memory = if cold { "none" } else { "all" };
    Ok(vec![
        engine.to_owned(),
        memory.to_owned(),
        ours.shown(2),
        rate(ours.median()),
        of(|r| r.processor)?.shown(2),
        direct.shown(2),
        rate(direct.median()),
        ratio.shown(2),
    ])
}

fn cost(engine: String, rounds: &[Round], saved: (u64, Duration)) -> Result<Vec<String>> {
    let of = |digits: usize, value: fn(&Round) -> f64| {
        Samples::new(rounds.iter().map(value)).context("nothing was measured").map(|samples| samples.shown(digits))
    };
    Ok(vec![
        engine,
        of(1, |round| round.grew_mib)?,
        of(1, |round| round.peak_mib)?,
        of(2, |round| round.written as f64 / 1e6)?,
        of(2, |round| round.ours as f64 / 1e6)?,
        of(2, |round| round.larger as f64 / 1e6)?,
        format!("{:.0}", saved.0 as f64 / 1e6),
        format!("{:.2}", saved.1.as_secs_f64()),
    ])
}

impl Round {
    /// Of a hundred bytes of the layer, so many were written: by engine and daemon together, or, where that is more, what the
    /// data root grew by. A copy of the layer would be a hundred.
    fn share_written(&self, layer: u64) -> f64 {
        let grown = u64::try_from(self.larger).unwrap_or_default();
        (self.written + self.ours).max(grown) as f64 * 100.0 / layer as f64
    }
}

impl Host<'_> {
    /// Deploys, waits for the comparison that follows, reads the same files, and removes the image again.
    fn round(&self, cold: bool, files: venv::Files) -> Result<Round> {
        let (name, pid) = (self.runtime.reference(), self.server.pid()?);
        self.patience.wait()?;
        let told = self.told()?;
        forget_peak(pid)?;
        let before = Memory::of(pid)?.resident;
        let job = self.server.facts(&["deploy", &name, "--follow"])?;
        let job_ended = job["finished"].as_u64().context("the job's record has no end")?;
        let (processor, disk, size) = (processor_time(pid)?, self.written()?, disk::size(self.engine.data_root())?);
        let ours = written(pid)?;
        let mut stood = Duration::ZERO;
        if cold {
            stood = self.server.frozen(|| disk::forget(&disk::places(self.engine)?))?;
        }
        let deadline = Instant::now() + Duration::from_secs(300);
        while self.told()? == told {
            ensure!(Instant::now() < deadline, "nothing was compared: {}", self.server.log()?);
            std::thread::sleep(Duration::from_millis(5));
        }
        let ended = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let seconds = (ended - Duration::from_millis(job_ended) - stood).as_secs_f64();
        let peak_mib = Memory::of(pid)?.peak;
        let round = Round {
            cold,
            seconds,
            processor: processor_time(pid)? - processor,
            grew_mib: peak_mib - before,
            peak_mib,
            written: self.written()? - disk,
            ours: written(pid)? - ours,
            larger: disk::size(self.engine.data_root())? as i64 - size as i64,
            direct: self.direct(cold, files)?,
        };
        eprintln!(
            "bench: {} comparison {:.2} s, read and hashed {:.2} s; memory +{:.1} MiB to {:.1} MiB, written {} and {} bytes, data \
             root {:+} bytes",
            if cold { "cold" } else { "warm" },
            round.seconds,
            round.direct,
            round.grew_mib,
            round.peak_mib,
            round.written,
            round.ours,
            round.larger
        );
        self.remove()?;
        Ok(round)
    }

    fn told(&self) -> Result<usize> {
        Ok(self.server.log()?.lines().filter(|line| line.contains(TOLD)).count())
    }

    /// By the engine's processes.
    fn written(&self) -> Result<u64> {
        let dockerd = self.engine.pid().context("the engine does not run")?;
        let containerd = self.engine.containerd().context("the engine runs no containerd")?;
        Ok(written(dockerd)? + written(containerd)?)
    }

    /// The same files, from the disk or from memory.
    fn direct(&self, cold: bool, files: venv::Files) -> Result<f64> {
        let places = disk::places(self.engine)?;
        if cold {
            disk::forget(&places)?;
        }
        let begun = Instant::now();
        let read = disk::hash(&places)?;
        let took = begun.elapsed();
        ensure!(read == (2 * files.each.count, 2 * files.each.bytes), "{read:?} were read in {places:?}");
        Ok(took.as_secs_f64())
    }

    /// As if it had never been deployed.
    fn remove(&self) -> Result<()> {
        self.server.facts(&["forget", &self.runtime.reference()])?;
        self.engine.run_docker(["rmi", &self.runtime.reference()])?;
        // on the containerd store a row by digest stays behind and holds all the layers
        self.engine.docker(["rmi", &self.runtime.by_digest().to_string()]).output()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while disk::places(self.engine)?.len() > 1 {
            ensure!(Instant::now() < deadline, "the engine keeps the removed image's files");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What the engine writes for a `docker save` of the runtime image, and how long that takes.
    fn save(&self) -> Result<(u64, Duration)> {
        self.server.facts(&["deploy", &self.runtime.reference(), "--follow"])?;
        self.server.facts(&["status", "--wait-idle"])?;
        let before = self.written()?;
        let begun = Instant::now();
        let mut save = self.engine.docker(["save", &self.runtime.reference()]).stdout(Stdio::piped()).spawn()?;
        let read = std::io::copy(&mut save.stdout.take().context("no output")?, &mut std::io::sink())?;
        ensure!(save.wait()?.success() && read > self.runtime.layer_bytes().0 / 2, "docker save gave {read} bytes");
        Ok((self.written()? - before, begun.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_layer_misses_the_target_whoever_wrote_it_and_a_little_of_something_else_does_not() {
        let share = |written: u64, ours: u64, larger: i64| {
            let round = Round {
                cold: false,
                seconds: 1.0,
                processor: 1.0,
                grew_mib: 1.0,
                peak_mib: 1.0,
                written,
                ours,
                larger,
                direct: 1.0,
            };
            round.share_written(1_000_000_000)
        };
        let missed = |share: f64| share > TARGET_WRITTEN;
        assert_eq!(share(1_330_000, 670_000, -70_000), 0.2, "what is smaller afterwards takes nothing away");
        for copied in [share(1_000_000_000, 0, 0), share(0, 1_000_000_000, 0), share(0, 0, 1_000_000_000)] {
            assert_eq!((copied, missed(copied)), (100.0, true));
        }
        assert!(!missed(share(9_000_000, 1_000_000, 10_000_000)) && missed(share(9_000_000, 1_000_001, 0)));
    }
}
