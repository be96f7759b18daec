//! The control socket: everything that changes something, for those on this host who may write to the socket. Every
//! change is logged with the peer's user id, which the kernel vouches for.

mod socket;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use layerkeeper_core::{ImageName, KeptName};
use layerkeeper_keeper::{DeployAnswer, Keeper, Refusal};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::HttpError;
use crate::events::Followers;
use crate::problem::{Kind, Problem};
use crate::request;
use crate::serve::{self, Listener, Peer, ServeSettings};
use crate::tell::{self, Tell};
use crate::wire::{Accepted, AcceptedJobs, DeployBody, ForgetBody, PrewarmBody, PruneBody};

/// A body comes from a process on this host.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A bound control socket; its file goes when this does.
#[derive(Debug)]
pub struct ControlSocket {
    listener: Listener,
    file: socket::SocketFile,
}

impl ControlSocket {
    /// Binds `[listen] control` with mode 0660 and, where one is given, this group. A stale socket is replaced, one on
    /// which a daemon answers is not. Must be called inside the runtime.
    pub fn bind(path: impl Into<PathBuf>, gid: Option<u32>) -> Result<Self, HttpError> {
        let (listener, file) = socket::bind(path.into(), gid)?;
        Ok(Self { listener: Listener::unix("control", listener), file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Serves until `shutdown`, then removes the file; when this returns no connection is left.
    pub async fn serve(self, keeper: Keeper, settings: ServeSettings, shutdown: CancellationToken) {
        let Self { listener, file } = self;
        serve::serve(listener, router(keeper, shutdown.clone()), settings, shutdown).await;
        drop(file);
    }
}

fn router(keeper: Keeper, shutdown: CancellationToken) -> Router {
    let only_post = || async { Problem::method_not_allowed("POST") };
    let followers = Followers::new(64, 64);
    let tell = Tell { keeper: keeper.clone(), any_reference: true, followers, shutdown };
    Router::new()
        .route("/v1/deploys", post(deploy).fallback(only_post))
        .route("/v1/prewarm", post(prewarm).fallback(only_post))
        .route("/v1/forget", post(forget).fallback(only_post))
        .route("/v1/prune", post(prune).fallback(only_post))
        .with_state(keeper)
        .merge(tell::routes(tell))
}

async fn deploy(State(keeper): State<Keeper>, request: Request) -> Result<Response, Problem> {
    let (caller, body) = read::<DeployBody>(request).await?;
    let deploy = request::deploy_request(&body)?;
    let answer = keeper.deploy(deploy, caller.uid).await;
    let answer = caller.log("deploy", &body.image, answer)?;
    Ok(took(&answer))
}

async fn prewarm(State(keeper): State<Keeper>, request: Request) -> Result<Response, Problem> {
    let (caller, body) = read::<PrewarmBody>(request).await?;
    let named = body.images.iter().map(|image| image.parse()).collect::<Result<Vec<KeptName>, _>>();
    let named = named.map_err(|cause| Problem::new(Kind::NotAReference, format!("images: {cause}")))?;
    let names = named.iter().map(|name| keeper.names(name)).collect::<Result<Vec<_>, _>>();
    let images = names.map_err(tell::refused)?.concat();
    let what = if images.is_empty() { "all kept images".to_owned() } else { body.images.join(" ") };
    let answers = caller.log("prewarm", &what, keeper.prewarm(&images, caller.uid).await)?;
    let jobs = answers.iter().map(accepted).collect();
    Ok((StatusCode::ACCEPTED, Json(AcceptedJobs { jobs })).into_response())
}

async fn forget(State(keeper): State<Keeper>, request: Request) -> Result<Response, Problem> {
    let (caller, body) = read::<ForgetBody>(request).await?;
    let image: ImageName =
        body.image.parse().map_err(|cause| Problem::new(Kind::NotAReference, format!("image: {cause}")))?;
    let forgotten = caller.log("forget", &body.image, keeper.forget(&image, caller.uid).await)?;
    Ok(Json(forgotten).into_response())
}

async fn prune(State(keeper): State<Keeper>, request: Request) -> Result<Response, Problem> {
    let (caller, body) = read::<PruneBody>(request).await?;
    if body.dry_run {
        return Ok(Json(keeper.plan_prune(body.superseded).await.map_err(tell::refused)?).into_response());
    }
    let what = if body.superseded { "old tags and superseded digests" } else { "old tags" };
    let answer = caller.log("prune", what, keeper.prune(body.superseded, caller.uid).await)?;
    Ok(took(&answer))
}

/// Who asked.
#[derive(Debug, Clone, Copy)]
struct Caller {
    uid: u32,
    pid: Option<i32>,
}

impl Caller {
    /// One line per change asked for, granted or not.
    fn log<T>(self, command: &str, what: &str, answer: Result<T, Refusal>) -> Result<T, Problem> {
        let Self { uid, pid } = self;
        match answer {
            Ok(answer) => {
                info!(uid, pid, command, what, "operator's request taken");
                Ok(answer)
            }
            Err(refusal) => {
                warn!(uid, pid, command, what, cause = %refusal, "operator's request refused");
                Err(tell::refused(refusal))
            }
        }
    }
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<(Caller, T), Problem> {
    let caller = match request.extensions().get::<Peer>() {
        Some(Peer::Unix { uid, pid }) => Caller { uid: *uid, pid: *pid },
        _ => return Err(Problem::new(Kind::Internal, "this request did not come over the control socket")),
    };
    request::check_head(request.headers())?;
    let body = request::read_body(request.into_body(), BODY_TIMEOUT).await?;
    Ok((caller, request::json(&body)?))
}

fn took(answer: &DeployAnswer) -> Response {
    (StatusCode::ACCEPTED, Json(accepted(answer))).into_response()
}

fn accepted(answer: &DeployAnswer) -> Accepted {
    let id = answer.job.id.to_string();
    Accepted { state: answer.job.state.to_string(), status_url: format!("/v1/jobs/{id}"), id }
}
