//! The public listener: deploys in, their status out. Everything it is sent is hostile until the signature holds.
//!
//! `POST /v1/deploys` · `GET /v1/deploys/{id}` · `GET /v1/deploys/{id}/events`; anything else is a problem document.

mod accept;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use layerkeeper_core::JobId;
use layerkeeper_keeper::Keeper;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::HttpError;
use crate::events::{self, Followers};
use crate::problem::{Audience, Kind, Problem};
use crate::rate::{Rate, RateLimiter};
use crate::secret::Secrets;
use crate::serve::{self, Listener, Peer, ServeSettings};
use crate::wire::PublicJob;

/// Followers per job, and in all.
const FOLLOWERS: (usize, usize) = (4, 32);

/// How the webhook listener behaves.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// What requests must be signed with; a new value counts from the next request on.
    pub secrets: watch::Receiver<Secrets>,
    /// How often one source may post, and, counted apart, how often it may ask; none lifts the limit.
    pub rate: Option<Rate>,
    /// A slower body is answered with 408.
    pub body_timeout: Duration,
    /// Connections and TLS.
    pub serve: ServeSettings,
}

impl WebhookSettings {
    /// The defaults: 10 requests a second and 50 at once per source, 10 seconds for a body, no TLS.
    pub fn new(secrets: watch::Receiver<Secrets>) -> Self {
        Self {
            secrets,
            rate: Some(Rate::default()),
            body_timeout: Duration::from_secs(10),
            serve: ServeSettings::default(),
        }
    }
}

/// A bound webhook listener.
#[derive(Debug)]
pub struct WebhookListener(Listener);

impl WebhookListener {
    /// Binds `[listen] webhook`. Must be called inside the runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        Listener::tcp("webhook", address).map(Self)
    }

    /// The bound address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `shutdown`; when this returns no connection is left.
    pub async fn serve(self, keeper: Keeper, settings: WebhookSettings, shutdown: CancellationToken) {
        let serve = settings.serve.clone();
        serve::serve(self.0, router(keeper, settings, shutdown.clone()), serve, shutdown).await;
    }
}

struct Webhook {
    keeper: Keeper,
    settings: WebhookSettings,
    posts: RateLimiter,
    reads: RateLimiter,
    followers: Arc<Followers>,
    shutdown: CancellationToken,
}

type Shared = State<Arc<Webhook>>;

fn router(keeper: Keeper, settings: WebhookSettings, shutdown: CancellationToken) -> Router {
    let webhook = Webhook {
        keeper,
        posts: RateLimiter::new(settings.rate),
        reads: RateLimiter::new(settings.rate),
        settings,
        followers: Followers::new(FOLLOWERS.0, FOLLOWERS.1),
        shutdown,
    };
    let only = |methods: &'static str| {
        async move |State(webhook): Shared, request: Request| {
            webhook.unless_too_fast(&request, || Problem::method_not_allowed(methods))
        }
    };
    Router::new()
        .route("/v1/deploys", post(deploy).fallback(only("POST")))
        .route("/v1/deploys/{id}", get(status).fallback(only("GET, HEAD")))
        .route("/v1/deploys/{id}/events", get(follow).fallback(only("GET")))
        .fallback(async |State(webhook): Shared, request: Request| {
            webhook.unless_too_fast(&request, Problem::no_such_path)
        })
        .with_state(Arc::new(webhook))
}

impl Webhook {
    /// What leads nowhere counts as a read, too.
    fn unless_too_fast(&self, request: &Request, problem: impl FnOnce() -> Problem) -> Problem {
        too_fast(&self.reads, source(request)).err().unwrap_or_else(problem)
    }
}

async fn deploy(State(webhook): Shared, request: Request) -> Response {
    let source = source(&request);
    let answer = webhook.accept(source, request).await;
    webhook.keeper.count_webhook(accept::outcome(&answer));
    match answer {
        Ok(took) => {
            let location = took.accepted.status_url.clone();
            (axum::http::StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(took.accepted)).into_response()
        }
        Err(problem) => {
            accept::log_refusal(source, &problem);
            problem.into_response()
        }
    }
}

async fn status(
    State(webhook): Shared,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    too_fast(&webhook.reads, source(&request))?;
    let unknown = || Problem::new(Kind::NotFound, "there is no deploy with this id");
    let id: JobId = path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(unknown)?;
    let row = webhook.keeper.job(&id).await.map_err(|refusal| Problem::of_refusal(&refusal, Audience::Public))?;
    let job = PublicJob::from(row.ok_or_else(unknown)?);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(job)).into_response())
}

async fn follow(
    State(webhook): Shared,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    too_fast(&webhook.reads, source(&request))?;
    let id = path.map_or_else(|_| String::new(), |Path(id)| id);
    events::follow(&webhook.keeper, &id, &webhook.followers, webhook.shutdown.clone(), Audience::Public).await
}

fn too_fast(limiter: &RateLimiter, source: IpAddr) -> Result<(), Problem> {
    limiter.take(source, Instant::now()).map_err(|wait| {
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        Problem::new(Kind::TooFast, "too many requests from this address").retry_after(seconds)
    })
}

fn source(request: &Request) -> IpAddr {
    match request.extensions().get::<Peer>() {
        Some(Peer::Tcp { remote, .. }) => remote.ip(),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}
