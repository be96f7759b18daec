//! The pages' paths: `/`, `/jobs`, `/jobs/{id}`, `/names`.

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::NaiveDateTime;
use layerkeeper_core::{JobId, Timestamp};
use layerkeeper_keeper::Keeper;
use layerkeeper_store::{ChangeFilter, JobFilter};
use maud::Markup;
use serde::Deserialize;

use super::names::NamesData;
use super::{PageData, frame, inner, job, jobs, names, page};
use crate::client::path;
use crate::problem::{Kind, Problem};
use crate::tell::{bad_query, refused};
use crate::wire::{ChangeView, ChangesQuery, JobView};

/// `GET /jobs`: the next page begins before the job with this number.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobsAsked {
    before: Option<u64>,
    image: Option<String>,
}

/// `GET /names`, as the form sends it: what was left empty is there and empty.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesAsked {
    #[serde(default)]
    at: String,
    #[serde(default)]
    name: String,
}

/// All of them.
pub fn routes(keeper: Keeper) -> Router {
    let only_get = || async { Problem::method_not_allowed("GET, HEAD") };
    Router::new()
        .route("/", get(index).fallback(only_get))
        .route("/jobs", get(all_jobs).fallback(only_get))
        .route("/jobs/{id}", get(one_job).fallback(only_get))
        .route("/names", get(all_names).fallback(only_get))
        .with_state(keeper)
}

async fn index(State(keeper): State<Keeper>) -> Result<Response, Problem> {
    Ok(html(&page(&PageData::collect(&keeper).await.map_err(refused)?)))
}

async fn all_jobs(
    State(keeper): State<Keeper>,
    query: Result<Query<JobsAsked>, QueryRejection>,
) -> Result<Response, Problem> {
    let JobsAsked { before, image } = query.map_err(bad_query)?.0;
    let name = image.as_deref().map(str::parse).transpose();
    let name = name.map_err(|cause| Problem::new(Kind::NotAReference, format!("image: {cause}")))?;
    let filter = JobFilter { image: name, before_seq: before, limit: jobs::ROWS, ..JobFilter::default() };
    let rows = keeper.jobs(filter).await.map_err(refused)?;
    let views: Vec<JobView> = rows.into_iter().map(|row| JobView::from(row).brief()).collect();
    let now = keeper.now().0;
    let data = match &image {
        Some(image) => path("/v1/jobs", &[("image", image)]),
        None => "/v1/jobs".to_owned(),
    };
    Ok(html(&frame("Jobs", None, &inner(&jobs::jobs(&views, image.as_deref(), now), now, &data))))
}

async fn one_job(State(keeper): State<Keeper>, path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let unknown = || Problem::new(Kind::NotFound, "there is no job with this id");
    let id: JobId = path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(unknown)?;
    let row = keeper.job(&id).await.map_err(refused)?.ok_or_else(unknown)?;
    let view = JobView::from(row);
    let progress = match view.state.as_str() {
        "running" => keeper.follow(&id).await.map_err(refused)?.map(|receiver| receiver.borrow().clone()),
        _ => None,
    };
    let now = keeper.now().0;
    // what has ended does not change any more, and what somebody has unfolded stays so
    let refresh = view.finished.is_none().then_some(5);
    let content = job::job(&view, progress.as_ref(), now);
    Ok(html(&frame(&view.intent, refresh, &inner(&content, now, &format!("/v1/jobs/{id}")))))
}

async fn all_names(
    State(keeper): State<Keeper>,
    query: Result<Query<NamesAsked>, QueryRejection>,
) -> Result<Response, Problem> {
    let NamesAsked { at, name } = query.map_err(bad_query)?.0;
    let at = if at.is_empty() { None } else { Some(instant(&at)?) };
    let name = Some(ChangesQuery::written(&name)).filter(|name| !name.is_empty());
    let filter = ChangeFilter { limit: names::ROWS, name: name.clone(), until: at };
    let standing = keeper.names_at(at.unwrap_or(Timestamp(i64::MAX))).await.map_err(refused)?;
    let changes = keeper.changes(filter).await.map_err(refused)?;
    let wanted = |row: &ChangeView| name.as_ref().is_none_or(|name| row.name == *name);
    let now = keeper.now();
    let data = NamesData {
        at: at.map(|at| at.0),
        names: standing.into_iter().map(ChangeView::from).filter(wanted).collect(),
        changes: changes.into_iter().map(ChangeView::from).collect(),
        name,
        now: now.0,
    };
    let source = path("/v1/names", &[("at", &at.unwrap_or(now).0.to_string())]);
    Ok(html(&frame("What was here", None, &inner(&names::names(&data), now.0, &source))))
}

/// The end of a minute in UTC, as a form's field for time sends it.
fn instant(text: &str) -> Result<Timestamp, Problem> {
    match NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M") {
        Ok(minute) => Ok(Timestamp(minute.and_utc().timestamp_millis() + 59_999)),
        Err(_) => Err(Problem::new(Kind::Malformed, "at: a minute in UTC, such as 2026-11-24T03:00")),
    }
}

fn html(page: &Markup) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page.0.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_meant_to_its_end() {
        assert_eq!(instant("2026-11-24T03:00").unwrap(), Timestamp(1_795_489_200_000 + 59_999));
        for wrong in ["tuesday", "2026-11-24", "2026-13-01T00:00", "2026-11-24T03:00:00Z"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }
}
