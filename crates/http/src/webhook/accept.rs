//! `POST /v1/deploys`: from a stranger's bytes to a durable job, or to the reason why not.
//!
//! The order of the checks is part of the contract: rate (429), head (413, 415), body (413, 408), signature (401), JSON
//! (400), reference (422), stopping (503), policy (403), id (409), queue (429). Only who holds the secret learns anything
//! after the 401, and the rate comes first because every other refusal is a line in the log.

use std::net::IpAddr;

use axum::extract::Request;
use layerkeeper_core::Trigger;
use layerkeeper_keeper::{DeployAnswer, Refusal};
use layerkeeper_store::WebhookIdRecord;
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use super::{Webhook, too_fast};
use crate::problem::{Audience, Kind, Problem};
use crate::request;
use crate::signature::{self, Verified};
use crate::wire::{Accepted, DeployBody};

/// A request that was taken.
pub struct Took {
    /// The answer.
    pub accepted: Accepted,
    /// How it is counted.
    outcome: &'static str,
}

impl Webhook {
    /// Takes a request or says why not; nothing is queued then.
    pub(super) async fn accept(&self, source: IpAddr, request: Request) -> Result<Took, Problem> {
        let (head, body) = request.into_parts();
        too_fast(&self.posts, source)?;
        request::check_head(&head.headers)?;
        let body = request::read_body(body, self.settings.body_timeout).await?;
        let newest = self.keeper.newest_webhook_time();
        let verified =
            signature::verify(&head.headers, &body, self.keeper.now(), newest, &self.settings.secrets.borrow())
                .map_err(|cause| Problem::new(Kind::NotAuthenticated, cause.to_string()))?;
        let deploy = request::deploy_request(&request::json::<DeployBody>(&body)?)?;
        let image = deploy.image.clone();
        let record = WebhookIdRecord {
            id: verified.id.clone(),
            body_sha256: Sha256::digest(&body).into(),
            timestamp: verified.sent,
        };
        let answer = self.keeper.accept_webhook(record, deploy).await.map_err(refused)?;
        let took = took(&answer, &verified);
        info!(%source, webhook_id = verified.id, %image, job = %answer.job.id, outcome = took.outcome, "webhook taken");
        Ok(took)
    }
}

/// The word under which a request is counted; a small fixed set.
pub fn outcome(answer: &Result<Took, Problem>) -> &'static str {
    match answer {
        Ok(took) => took.outcome,
        Err(problem) => match problem.status {
            400 => "malformed",
            401 => "unauthenticated",
            403 => "forbidden",
            408 => "timeout",
            409 => "conflict",
            413 => "too_large",
            415 => "unsupported",
            422 => "unprocessable",
            429 if problem.is(Kind::QueueFull) => "queue_full",
            429 => "rate_limited",
            503 if problem.is(Kind::Stopping) => "stopping",
            _ => "error",
        },
    }
}

/// One line per refused request. Only the reason that the sender gets too: it holds nothing secret.
pub fn log_refusal(source: IpAddr, problem: &Problem) {
    let Problem { status, detail, .. } = problem;
    if problem.is(Kind::TooFast) {
        // a flood must not flood the log
        tracing::debug!(%source, status, detail, "webhook refused");
    } else {
        warn!(%source, status, detail, "webhook refused");
    }
}

fn took(answer: &DeployAnswer, verified: &Verified) -> Took {
    let own = matches!(&answer.job.trigger, Trigger::Webhook(id) if *id == verified.id);
    let outcome = match (answer.joined, own) {
        (false, _) => "accepted",
        (true, true) => "repeated",
        (true, false) => "joined",
    };
    let id = answer.job.id.to_string();
    let status_url = format!("/v1/deploys/{id}");
    Took { accepted: Accepted { id, state: answer.job.state.to_string(), status_url }, outcome }
}

fn refused(refusal: Refusal) -> Problem {
    if let Refusal::Store(cause) | Refusal::NotStored(cause) = &refusal {
        error!(%cause, "a webhook could not be stored");
    }
    Problem::of_refusal(&refusal, Audience::Public)
}
