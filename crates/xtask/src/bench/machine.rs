//! What was measured on, and whether it was at rest.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A machine is at rest when it uses less than this share of its cores.
const AT_REST: f64 = 0.08;
const LOOK: Duration = Duration::from_secs(2);

/// The head of the page.
pub fn describe(command: &str) -> Result<String> {
    let (at, machine) = (today()?, machine()?);
    Ok(format!(
        "# Performance\n\nWritten by `{}` on {at}, from a real run; every figure comes with its spread, as median (least–most). \
         `cargo xtask bench` measures the same on your machine.\n\n{machine}\n",
        command.trim(),
    ))
}

/// A day, as 2026-11-27.
pub fn today() -> Result<String> {
    said(Command::new("date").args(["--utc", "+%Y-%m-%d"]))
}

/// How many programs wanted to run: over the last 1, 5 and 15 minutes.
pub fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    Ok(text.split_whitespace().take(3).collect::<Vec<_>>().join(", "))
}

/// What was measured on.
pub fn machine() -> Result<String> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line[key.len()..].trim_matches([':', '=', '"', ' ', '\t']).to_owned())
    };
    let processor = field(&read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = field(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
    let memory: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let release = field(&read("/etc/os-release")?, "PRETTY_NAME").unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    let disk = said(Command::new("df").arg("--output=fstype").arg(std::env::temp_dir()))?;
    let disk = disk.lines().last().unwrap_or_default();
    let compiler = said(Command::new("rustc").arg("--version"))?;
    Ok(format!(
        "Machine: {cores} cores ({processor}), {:.0} GiB of memory, {disk}, Linux {}, {release}. Built with {compiler}, \
         `--release`. Load generator, registry, engine and daemon share these cores.",
        memory as f64 / f64::from(1 << 20),
        read("/proc/sys/kernel/osrelease")?.trim(),
    ))
}

/// How long to wait for the machine to be at rest before something is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl Patience {
    /// Waits until the machine is at rest; says so where it never was.
    pub fn wait(self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < self.0 {
            if busy()? < AT_REST {
                return Ok(());
            }
        }
        eprintln!("bench: goes on although others use this machine");
        Ok(())
    }
}

/// Which share of the cores was used for the next two seconds.
fn busy() -> Result<f64> {
    let before = times()?;
    std::thread::sleep(LOOK);
    let after = times()?;
    let (used, all) = (after.0 - before.0, after.1 - before.1);
    Ok(used as f64 / all.max(1) as f64)
}

/// Time used and time in all, from `/proc/stat` (proc(5)).
fn times() -> Result<(u64, u64)> {
    let ticks = ticks()?;
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}

/// user, nice, system, idle, iowait, irq, softirq, steal; the rest is in user already.
fn ticks() -> Result<Vec<u64>> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    Ok(line.split_whitespace().skip(1).take(8).filter_map(|word| word.parse().ok()).collect())
}

/// What a virtual machine's host gave to others while it was wanted here: `steal` in proc(5).
pub struct Stolen(Vec<u64>);

impl Stolen {
    /// From here on.
    pub fn begin() -> Result<Self> {
        Ok(Self(ticks()?))
    }

    /// The share of the time that these cores were wanted, in per cent.
    pub fn share(&self) -> Result<f64> {
        let since: Vec<u64> = ticks()?.iter().zip(&self.0).map(|(now, then)| now.saturating_sub(*then)).collect();
        let wanted: u64 = since.iter().enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, ticks)| ticks).sum();
        Ok(since.get(7).copied().unwrap_or_default() as f64 / wanted.max(1) as f64 * 100.0)
    }
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
