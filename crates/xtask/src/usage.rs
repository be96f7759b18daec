//! What a process takes, as proc(5) tells it.

use std::fs;

use anyhow::{Context, Result};

/// USER_HZ, in which proc(5) tells times, on every architecture that Docker runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// In MiB.
pub struct Memory {
    /// In memory now.
    pub resident: f64,
    /// Of that its own.
    pub anonymous: f64,
    /// Of that pages of files.
    pub file: f64,
    /// The most it ever was.
    pub peak: f64,
}

impl Memory {
    /// Of a process.
    pub fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |key: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            let kib: f64 = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).context("no memory")?;
            Ok(kib / 1024.0)
        };
        Ok(Self { resident: mib("VmRSS")?, anonymous: mib("RssAnon")?, file: mib("RssFile")?, peak: mib("VmHWM")? })
    }
}

/// Starts to count a process's peak of memory anew.
pub fn forget_peak(pid: u32) -> Result<()> {
    // proc(5), /proc/pid/clear_refs
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("cannot reset the peak of memory")
}

/// Bytes that a process, and its children that have ended, had written to a disk.
pub fn written(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).context("no write_bytes")
}

/// Seconds of processor time that a process has used.
pub fn processor_time(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // the name in parentheses may hold anything, so count from its end: utime and stime are fields 14 and 15
    let (_, fields) = text.rsplit_once(')').context("no such process")?;
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

/// How many files, sockets and the like a process has open.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
