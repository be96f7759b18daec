//! The command line.

mod check_config;
mod check_state;
mod deploy;
mod dispatch;
mod doctor;
mod due;
pub mod exit;
pub mod follow;
mod forget;
mod github;
pub mod history;
mod notify;
pub mod output;
mod pin;
pub mod plan;
mod prewarm;
pub mod progress;
mod prune;
pub mod reference;
pub mod remote;
mod status;
pub mod trouble;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use layerkeeper_core::{Digest, ImageName, KeptName, Quarter, Reference};

pub use dispatch::main;

use crate::config::DEFAULT_FILE;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage or bad configuration, 3 daemon not reachable, \
4 refused by policy, 5 superseded by a newer deploy.";

/// Keeps base and cache image layers on Docker deploy servers, so that a deploy moves only what changed.
#[derive(Debug, Parser)]
#[command(name = "layerkeeper", version, about, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_FILE)]
    pub config: PathBuf,

    /// The daemon's control socket [default: listen.control of the configuration].
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Print facts as JSON.
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground, as systemd does.
    Run,
    /// Say what is wrong with the configuration, all of it.
    CheckConfig,
    /// Say what is in the state directory, and whether it is whole; changes nothing, also while the daemon runs.
    CheckState(CheckStateArgs),
    /// Show what is kept, deployed, running and free.
    Status(StatusArgs),
    /// Pull a tag and report what moved; containers are left alone.
    Deploy(DeployArgs),
    /// Bring kept images here now, or refresh them.
    Prewarm(PrewarmArgs),
    /// Keep and bring back an image no more, until a deploy or a prewarm names it; removes nothing.
    Forget(ForgetArgs),
    /// Write the digest that a kept image has here into the configuration, and nothing else into it.
    Pin(PinArgs),
    /// Remove old tags that prune_tags matches, with the reason for each that goes or stays.
    Prune(PruneArgs),
    /// Estimate what a pull would move, layer by layer.
    Plan(PlanArgs),
    /// List past and present jobs, or those of one image, all that its newest did and what the name stood for.
    History(HistoryArgs),
    /// Look for what is wrong with this host, why it matters and what mends it; changes nothing, and needs no daemon. Only a
    /// kept image with `expect` is read through a container, which is made, never started and removed. Exits with 1 where
    /// something is a warning or a problem, with 0 where all is well or worth a note.
    Doctor(DoctorArgs),
    /// Post a signed deploy to a server's webhook, or to those of many servers at once, as CI does. With --follow, a step of
    /// GitHub Actions gets a table in its summary and the outputs bytes_downloaded, bytes_reused and reuse_ratio; for many
    /// servers a row for each, the sums, and the outputs servers and servers_done.
    Notify(NotifyArgs),
    /// Print a completion script.
    Completions {
        /// The shell that it is for.
        shell: Shell,
    },
}

/// `layerkeeper check-state`
#[derive(Debug, Args)]
pub struct CheckStateArgs {
    /// The state directory, such as a copy of it [default: state.dir of the configuration].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// `layerkeeper status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Wait until no job waits or runs, then show the status.
    #[arg(long)]
    pub wait_idle: bool,
}

/// `layerkeeper deploy`
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// The tag to deploy: REPOSITORY:TAG.
    #[arg(value_name = "REF")]
    pub image: ImageName,

    /// The digest that the tag must have; with it a tag that is here already needs no registry.
    #[arg(long, value_name = "sha256:…")]
    pub digest: Option<Digest>,

    /// Show the progress and wait for the end; exit with its result.
    #[arg(long)]
    pub follow: bool,

    /// Let it move more than the repository's download_limit: budget.
    #[arg(long = "override", value_name = "WHAT", value_parser = ["budget"])]
    pub overrides: Option<String>,
}

/// `layerkeeper prewarm`
#[derive(Debug, Args)]
pub struct PrewarmArgs {
    /// Kept images, by name or as the configuration has them; all of them when none is named.
    #[arg(value_name = "IMAGE", value_parser = kept)]
    pub images: Vec<KeptName>,

    /// Show the progress and wait for the end; exit with its result.
    #[arg(long)]
    pub follow: bool,
}

/// `layerkeeper forget`
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// A kept image or a runtime tag.
    #[arg(value_name = "IMAGE")]
    pub image: ImageName,
}

/// `layerkeeper pin`
#[derive(Debug, Args)]
pub struct PinArgs {
    /// A kept image of the configuration, by its name or as it is written there.
    #[arg(value_name = "IMAGE", value_parser = kept)]
    pub image: KeptName,

    /// Pin to this digest, such as an earlier one to go back to, whatever is here.
    #[arg(long, value_name = "sha256:…")]
    pub digest: Option<Digest>,

    /// Where the tag has {quarter}: stay at this quarter, such as an earlier one to go back to.
    #[arg(long, value_name = "2026q3", conflicts_with = "digest")]
    pub quarter: Option<Quarter>,

    /// Take the pin out, or the quarter: the tag is followed again.
    #[arg(long, conflicts_with_all = ["digest", "quarter"])]
    pub remove: bool,
}

/// `layerkeeper prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only show the plan that would run.
    #[arg(long)]
    pub dry_run: bool,

    /// Also remove the digests that a moved tag left behind.
    #[arg(long)]
    pub superseded: bool,
}

/// `layerkeeper plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The image: REPOSITORY:TAG or REPOSITORY@sha256:….
    #[arg(value_name = "REF")]
    pub image: Reference,

    /// Compare with this image at its registry instead of with this server: what moves to one that has only that. Needs no
    /// daemon.
    #[arg(long, value_name = "REF2")]
    pub against: Option<Reference>,

    /// The other server's image store.
    #[arg(long, value_enum, default_value_t = plan::Store::Overlay2, requires = "against")]
    pub store: plan::Store,

    /// The other server's platform [default: linux and this machine's architecture].
    #[arg(long, value_name = "OS/ARCH", value_parser = plan::platform, requires = "against")]
    pub platform: Option<layerkeeper_core::Platform>,

    /// Where this host's files are: another tree in tests.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// `layerkeeper history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Only this image: REPOSITORY:TAG. As JSON then an object instead of a list: `jobs`, the newest of them with all that it
    /// did, and `changes`, what the name stood for since when and how it went.
    #[arg(value_name = "REF")]
    pub image: Option<ImageName>,

    /// Show at most so many jobs, and so many changes of what the name stood for.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub limit: u16,

    /// Show instead what was here at a time: 2026-11-24 (its end), "2026-11-24 03:00" (local), or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = history::instant)]
    pub at: Option<i64>,

    /// Print comma-separated values (RFC 4180): a line for each pull and each removal; with REF also for each time that the
    /// name came to stand for an image (named) or was gone, whoever took it (went); with --at for each name.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,

    /// Where this host's files are: another tree in tests.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// `layerkeeper doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Where this host's files are: another tree in tests.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// `layerkeeper notify`
#[derive(Debug, Args)]
pub struct NotifyArgs {
    /// The tag to deploy: REPOSITORY:TAG, or REPOSITORY:TAG@sha256:….
    #[arg(value_name = "IMAGE", value_parser = tagged)]
    pub image: Tagged,

    #[allow(rustdoc::bare_urls, reason = "this is the help text")]
    /// The server's public listener, such as https://deploy-1.example.net:9317. May be given many times, or hold many
    /// addresses with white space between them: all have the same secret, --json gives a list, and the worst result is
    /// the exit code (2 over 3, 1, 4, 5).
    #[arg(long, value_name = "URL", required = true)]
    pub url: Vec<String>,

    /// The file that holds the webhook's secret.
    #[arg(long, value_name = "FILE", required_unless_present = "secret_env")]
    pub secret_file: Option<PathBuf>,

    /// The environment variable that holds the webhook's secret.
    #[arg(long, value_name = "NAME", conflicts_with = "secret_file")]
    pub secret_env: Option<String>,

    /// The digest that the tag must have.
    #[arg(long, value_name = "sha256:…")]
    pub digest: Option<Digest>,

    /// Wait for the end; exit with its result.
    #[arg(long)]
    pub follow: bool,

    /// Let it move more than the repository's download_limit: budget.
    #[arg(long = "override", value_name = "WHAT", value_parser = ["budget"])]
    pub overrides: Option<String>,

    /// Give up after so long, retries and following included.
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    pub timeout: std::time::Duration,
}

/// A tag, and the digest where one was written behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The tag.
    pub name: ImageName,
    /// The digest it must have.
    pub digest: Option<Digest>,
}

fn tagged(text: &str) -> Result<Tagged, String> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
        None => (text, None),
    };
    let name = name.parse().map_err(|error: layerkeeper_core::ReferenceError| error.to_string())?;
    Ok(Tagged { name, digest })
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    crate::config::duration(text).map_err(|wrong| format!("{}; {}", wrong.wrong, wrong.right))
}

/// As it may stand in the configuration, `{arch}` included.
fn kept(text: &str) -> Result<KeptName, String> {
    crate::config::kept(text).map_err(|wrong| format!("{}; {}", wrong.wrong, wrong.right))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_digest_may_stand_behind_the_tag() {
        let digest = Digest::of(b"x");
        let read = tagged(&format!("ghcr.io/acme/app:sha-1@{digest}")).unwrap();
        assert_eq!(read, Tagged { name: "ghcr.io/acme/app:sha-1".parse().unwrap(), digest: Some(digest) });
        assert!(tagged("ghcr.io/acme/app").is_err());
        assert!(tagged("ghcr.io/acme/app:sha-1@sha256:12").is_err());
    }

    #[test]
    fn the_step_for_github_actions_that_the_documents_show_is_one_that_follows_and_leaves_the_table() {
        for (file, text) in [
            ("README.md", include_str!("../../../README.md")),
            ("README.zh-CN.md", include_str!("../../../README.zh-CN.md")),
            ("deploy.yml", include_str!("../../../deploy/github-actions/deploy.yml")),
        ] {
            let step =
                text.lines().find_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("run: layerkeeper "));
            let step = step.unwrap_or_else(|| panic!("{file} shows none"));
            let image = format!("ghcr.io/acme/app:sha-1@{}", Digest::of(b"x"));
            let step = step.replace("\"$IMAGE\"", &image).replace("\"$LAYERKEEPER_URL\"", "https://a.example");
            let cli = Cli::try_parse_from(["layerkeeper"].into_iter().chain(step.split(' ')));
            let Ok(Cli { command: Command::Notify(notify), .. }) = cli else { panic!("{file}: {step}: {cli:?}") };
            assert!(
                notify.follow && notify.secret_env.is_some() && notify.image.digest.is_some(),
                "{file}: {notify:?}"
            );
        }
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        for wrong in [&["layerkeeper"][..], &["layerkeeper", "deploy", "ghcr.io/acme/app"], &["layerkeeper", "fly"]] {
            assert_eq!(Cli::try_parse_from(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}
