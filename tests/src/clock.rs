//! A wall clock of one process's own, which a test can set: libfaketime stands between it and the C library. Boot time and
//! the timers of the runtime go on as they are, as when somebody sets a server's clock.

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use layerkeeper_testkit::Scratch;

/// The clock.
pub struct FakeClock(Scratch);

impl FakeClock {
    /// Shows this instant (RFC 3339), and goes on from there.
    pub fn at(instant: &str) -> Self {
        let clock = Self(Scratch::new("clock").expect("a scratch folder"));
        clock.set(instant);
        clock
    }

    /// Sets it, at once for a process that runs.
    pub fn set(&self, instant: &str) {
        let instant: DateTime<Utc> = instant.parse().expect("an instant");
        let ahead = (instant - Utc::now()).as_seconds_f64();
        let file = self.file();
        // a reader must not see half of it
        let new = file.with_extension("new");
        fs::write(&new, format!("{ahead:+.3}\n")).expect("the offset is written");
        fs::rename(new, file).expect("the offset is in place");
    }

    /// What a process's environment must hold for this.
    pub fn env(&self) -> [(&'static str, String); 5] {
        let on = || "1".to_owned();
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", on()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", on()),
            ("NO_FAKE_STAT", on()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("offset")
    }
}

/// Debian's, of whatever architecture this machine is.
fn library() -> PathBuf {
    let lib = fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    let candidates = lib.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    candidates.into_iter().find(|path| path.exists()).expect("libfaketime is installed")
}
