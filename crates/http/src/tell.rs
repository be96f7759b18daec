//! What the daemon tells, over the local listener and the control socket alike. Nothing here changes anything.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use layerkeeper_core::{JobId, Reference, Timestamp};
use layerkeeper_keeper::status::ImageStatus;
use layerkeeper_keeper::{Estimated, Keeper, Refusal, Status};
use layerkeeper_store::{ChangeFilter, JobFilter};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::events::{self, Followers};
use crate::page;
use crate::problem::{Audience, Kind, Problem};
use crate::wire::{
    ChangeView, ChangesQuery, EventView, EventsQuery, JobView, JobsQuery, NamesQuery, PlanQuery, Readiness,
};

/// Content type of Prometheus' text format.
const METRICS: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];

/// How many jobs and events a list holds when nobody says.
const LIST: usize = 50;
const LIST_MOST: usize = 500;

/// What the routes need.
#[derive(Clone)]
pub struct Tell {
    /// Whom to ask.
    pub keeper: Keeper,
    /// May `/v1/plan` ask about any reference, or only about configured repositories?
    pub any_reference: bool,
    /// Seats for followers of jobs.
    pub followers: Arc<Followers>,
    /// Ends the followers' streams.
    pub shutdown: CancellationToken,
}

/// All of them.
pub fn routes(tell: Tell) -> Router {
    let only_get = || async { Problem::method_not_allowed("GET, HEAD") };
    Router::new()
        .route("/v1/status", get(status).fallback(only_get))
        .route("/v1/images", get(images).fallback(only_get))
        .route("/v1/jobs", get(jobs).fallback(only_get))
        .route("/v1/jobs/{id}", get(job).fallback(only_get))
        .route("/v1/jobs/{id}/events", get(follow).fallback(only_get))
        .route("/v1/events", get(trail).fallback(only_get))
        .route("/v1/changes", get(changes).fallback(only_get))
        .route("/v1/names", get(names).fallback(only_get))
        .route("/v1/plan", get(plan).fallback(only_get))
        .route("/readyz", get(readyz).fallback(only_get))
        .with_state(tell.clone())
        .merge(page::routes(tell.keeper.clone()))
        .merge(metrics_routes(tell.keeper))
}

/// `/metrics` and `/healthz`: all that a remote Prometheus gets.
pub fn metrics_routes(keeper: Keeper) -> Router {
    let only_get = || async { Problem::method_not_allowed("GET, HEAD") };
    Router::new()
        .route("/metrics", get(metrics).fallback(only_get))
        .route("/healthz", get(|| async { "ok\n" }).fallback(only_get))
        .with_state(keeper)
        .fallback(|| async { Problem::no_such_path() })
}

/// The keeper's refusal to somebody on this host.
pub fn refused(refusal: Refusal) -> Problem {
    if let Refusal::Store(cause) | Refusal::NotStored(cause) = &refusal {
        error!(%cause, "the store failed a request");
    }
    Problem::of_refusal(&refusal, Audience::Operator)
}

async fn status(State(tell): State<Tell>) -> Json<Status> {
    Json(tell.keeper.status().await)
}

async fn images(State(tell): State<Tell>) -> Json<Vec<ImageStatus>> {
    Json(tell.keeper.images().await)
}

async fn jobs(
    State(tell): State<Tell>,
    query: Result<Query<JobsQuery>, QueryRejection>,
) -> Result<Json<Vec<JobView>>, Problem> {
    let filter = job_filter(&query.map_err(bad_query)?.0)?;
    let rows = tell.keeper.jobs(filter).await.map_err(refused)?;
    Ok(Json(rows.into_iter().map(|row| JobView::from(row).brief()).collect()))
}

async fn job(State(tell): State<Tell>, path: Result<Path<String>, PathRejection>) -> Result<Json<JobView>, Problem> {
    let unknown = || Problem::new(Kind::NotFound, "there is no job with this id");
    let id: JobId = path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(unknown)?;
    let row = tell.keeper.job(&id).await.map_err(refused)?;
    Ok(Json(row.ok_or_else(unknown)?.into()))
}

async fn follow(State(tell): State<Tell>, path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let id = path.map_or_else(|_| String::new(), |Path(id)| id);
    events::follow(&tell.keeper, &id, &tell.followers, tell.shutdown, Audience::Operator).await
}

async fn trail(
    State(tell): State<Tell>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<Vec<EventView>>, Problem> {
    let limit = query.map_err(bad_query)?.limit.unwrap_or(LIST).clamp(1, LIST_MOST);
    let events = tell.keeper.events(limit).await.map_err(refused)?;
    Ok(Json(events.into_iter().map(EventView::from).collect()))
}

async fn changes(
    State(tell): State<Tell>,
    query: Result<Query<ChangesQuery>, QueryRejection>,
) -> Result<Json<Vec<ChangeView>>, Problem> {
    let ChangesQuery { limit, name } = query.map_err(bad_query)?.0;
    let name = name.as_deref().map(ChangesQuery::written);
    let filter = ChangeFilter { limit: limit.unwrap_or(LIST).clamp(1, LIST_MOST), name, until: None };
    let rows = tell.keeper.changes(filter).await.map_err(refused)?;
    Ok(Json(rows.into_iter().map(ChangeView::from).collect()))
}

async fn names(
    State(tell): State<Tell>,
    query: Result<Query<NamesQuery>, QueryRejection>,
) -> Result<Json<Vec<ChangeView>>, Problem> {
    let at = Timestamp(query.map_err(bad_query)?.0.at);
    let rows = tell.keeper.names_at(at).await.map_err(refused)?;
    Ok(Json(rows.into_iter().map(ChangeView::from).collect()))
}

async fn plan(
    State(tell): State<Tell>,
    query: Result<Query<PlanQuery>, QueryRejection>,
) -> Result<Json<Estimated>, Problem> {
    let image = query.map_err(bad_query)?.0.image;
    let reference: Reference =
        image.parse().map_err(|cause| Problem::new(Kind::NotAReference, format!("image: {cause}")))?;
    if !tell.any_reference && !tell.keeper.policy().knows(&reference.repository) {
        // else whoever reaches this port could send the daemon, with its credentials, to any registry
        let detail = format!(
            "{} is not in the configuration; any other reference can be planned on this host: layerkeeper plan {reference}",
            reference.repository
        );
        return Err(Problem::new(Kind::OutsidePolicy, detail));
    }
    tell.keeper.plan(&reference).await.map(Json).map_err(refused)
}

async fn metrics(State(keeper): State<Keeper>) -> Response {
    (METRICS, keeper.metrics_text().await).into_response()
}

async fn readyz(State(tell): State<Tell>) -> Response {
    let ready = tell.keeper.is_ready();
    let mut reasons = Vec::new();
    if !ready {
        let engine = tell.keeper.status().await.engine;
        reasons.push(match (engine.up, engine.error) {
            (true, _) => "the first look at the engine is not done yet".to_owned(),
            (false, Some(cause)) => format!("the engine does not answer: {cause}"),
            (false, None) => "the engine has not answered yet".to_owned(),
        });
    }
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(Readiness { ready, reasons })).into_response()
}

fn job_filter(query: &JobsQuery) -> Result<JobFilter, Problem> {
    let unknown = |key: &str, value: &str, known: &str| {
        Problem::new(Kind::Malformed, format!("{key}={value}: must be one of {known}"))
    };
    let states = match query.state.as_deref() {
        None => Vec::new(),
        Some(text) => vec![
            text.parse()
                .map_err(|()| unknown("state", text, "queued, running, succeeded, failed, refused, superseded"))?,
        ],
    };
    let kinds = match query.kind.as_deref() {
        None => Vec::new(),
        Some(text) => vec![text.parse().map_err(|()| unknown("kind", text, "deploy, heal, warm, prune"))?],
    };
    let image = query.image.as_deref().map(str::parse).transpose();
    let image = image.map_err(|cause| Problem::new(Kind::NotAReference, format!("image: {cause}")))?;
    let limit = query.limit.unwrap_or(LIST).clamp(1, LIST_MOST);
    Ok(JobFilter { kinds, states, image, limit, ..JobFilter::default() })
}

/// A query that is not what the path takes.
pub fn bad_query(rejection: QueryRejection) -> Problem {
    Problem::new(Kind::Malformed, rejection.body_text())
}
