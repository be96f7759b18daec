//! What goes over the wire, in both directions; server and client share these types.
//!
//! `Status`, `Progress`, `Estimated` (`layerkeeper_keeper`) and `PruneRecord`, `Outcome` (`layerkeeper_store::record`)
//! travel as they are. Sizes are bytes, instants milliseconds since the Unix epoch.

pub mod job;
pub mod public;

use layerkeeper_core::ImageName;
use serde::{Deserialize, Serialize};

pub use job::{ChangeView, EventView, JobView};
pub use public::{PublicError, PublicJob, PublicLayer, PublicPrune, PublicPull, PublicReport};

/// `POST /v1/deploys`, from CI and from the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployBody {
    /// `repository:tag`
    pub image: String,
    /// The digest that the tag must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// `budget`: it may move more than the repository's `download_limit`.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub overrides: Option<String>,
}

/// 202: the job is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its id. Whoever has it may read the job.
    pub id: String,
    /// `queued` or `running`, or a final state when this request is a retry.
    pub state: String,
    /// Where to ask for it, path only.
    pub status_url: String,
}

/// `POST /v1/prewarm`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrewarmBody {
    /// Names of kept images; empty for all.
    #[serde(default)]
    pub images: Vec<String>,
}

/// `POST /v1/forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetBody {
    /// A kept image or a runtime tag.
    pub image: String,
}

/// 202 to `POST /v1/prewarm`: one job per image, in the order in which they run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedJobs {
    /// The jobs.
    pub jobs: Vec<Accepted>,
}

/// `POST /v1/prune`. A dry run is answered with 200 and a `PruneRecord`, anything else with 202 and [`Accepted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneBody {
    /// Also the superseded digests.
    #[serde(default)]
    pub superseded: bool,
    /// Only tell what would go and what would stay.
    #[serde(default)]
    pub dry_run: bool,
}

/// Which changes `GET /v1/changes` lists, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangesQuery {
    /// At most so many; 50 when not given, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ChangesQuery {
    /// A name as it is written down: `docker.io/library/nginx:1.25` for `nginx:1.25`. What is no tag of an image stays as it is.
    pub fn written(name: &str) -> String {
        let name = name.trim();
        name.parse::<ImageName>().map_or_else(|_| name.to_owned(), |name| name.to_string())
    }
}

/// Which instant `GET /v1/names` looks back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamesQuery {
    /// Milliseconds since the Unix epoch.
    pub at: i64,
}

/// Which jobs `GET /v1/jobs` lists, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    /// At most so many; 50 when not given, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `queued`, `running`, `succeeded`, `failed`, `refused` or `superseded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `deploy`, `heal`, `warm` or `prune`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `repository:tag`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// How much of the audit trail `GET /v1/events` lists, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// At most so many; 50 when not given, 500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// `GET /v1/plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanQuery {
    /// `repository:tag` or `repository@sha256:…`
    pub image: String,
}

/// `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// 200 when it is, 503 when not.
    pub ready: bool,
    /// Why not, a sentence each.
    pub reasons: Vec<String>,
}
