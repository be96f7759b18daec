//! Log lines, on standard error: for a person, or for the journal.

pub mod journal;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged when nobody says otherwise.
const DEFAULT: &str = "info,tokio_cron_scheduler=warn";

/// Who reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The journal: it has the time already, and takes the level from the line's prefix.
    Journal,
    /// A terminal: with colours.
    Terminal,
    /// A file or a pipe.
    File,
}

impl Reader {
    /// Who reads this process's standard error.
    pub fn of_process() -> Self {
        if is_journal() {
            Self::Journal
        } else if io::stderr().is_terminal() {
            Self::Terminal
        } else {
            Self::File
        }
    }
}

/// Starts logging. The filter comes from `LAYERKEEPER_LOG`, else `RUST_LOG`, else it is `info`.
///
/// # Errors
/// A filter that cannot be read; logging then starts with the default, so that the error can be logged too.
pub fn start(reader: Reader) -> Result<(), String> {
    let wanted = ["LAYERKEEPER_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| (name, text)));
    let (filter, complaint) = match wanted {
        None => (EnvFilter::new(DEFAULT), None),
        Some((name, text)) => match EnvFilter::try_new(&text) {
            Ok(filter) => (filter, None),
            Err(error) => {
                let example = "write a level such as \"debug\", or \"info,layerkeeper_engine=debug\"";
                (
                    EnvFilter::new(DEFAULT),
                    Some(format!("environment: {name}: \"{text}\" is no filter ({error}); {example}")),
                )
            }
        },
    };
    let registry = tracing_subscriber::registry().with(filter);
    let started = match reader {
        Reader::Journal => registry.with(journal::layer(io::stderr)).try_init(),
        Reader::Terminal => registry.with(fmt::layer().with_writer(io::stderr).with_target(false)).try_init(),
        Reader::File => registry.with(fmt::layer().with_writer(io::stderr).with_ansi(false)).try_init(),
    };
    match (complaint, started) {
        (Some(complaint), _) => Err(complaint),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(())) => Ok(()),
    }
}

/// Is standard error the very stream that systemd connected to the journal? `JOURNAL_STREAM` holds its device and inode
/// (`systemd.exec(5)`), for the variable alone survives redirections.
fn is_journal() -> bool {
    let Some((device, inode)) = std::env::var("JOURNAL_STREAM").ok().and_then(|stream| {
        let (device, inode) = stream.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    }) else {
        return false;
    };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| stat.st_dev == device && stat.st_ino == inode)
}
