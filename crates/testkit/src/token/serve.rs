//! The token server's one endpoint.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::jwt::Grant;
use super::{Desk, Rules, TokenRequest, TokenServer, lock};
use crate::registry::basic;

pub(super) async fn serve(listener: std::net::TcpListener, desk: Arc<Desk>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    // clients that try OAuth2's POST first fall back to GET when they see 405
    let router = Router::new().route("/token", get(issue)).with_state(desk);
    let _ = axum::serve(listener, router).await;
}

async fn issue(State(desk): State<Arc<Desk>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let query = query.unwrap_or_default();
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    // distribution's clients repeat the parameter, others join scopes with blanks
    let scopes = pairs.iter().filter(|(key, _)| key == "scope").flat_map(|(_, value)| value.split(' '));
    let scopes: Vec<String> = scopes.map(str::to_owned).collect();
    let rules = desk.rules().clone();
    let (user, answer) = match (rules.refuse, who(&headers)) {
        (Some(status), user) => (user.unwrap_or(None), Err(status)),
        (None, Err(())) => (None, Err(401)),
        (None, Ok(user)) => {
            let access: Vec<Grant> = scopes.iter().filter_map(|scope| grant(scope, user.is_some(), &rules)).collect();
            let token = desk.signer.token(user.as_deref().unwrap_or_default(), &access, rules.lifetime);
            (user, Ok(token))
        }
    };
    let status = answer.as_ref().err().copied().unwrap_or(200);
    lock(&desk.seen).push(TokenRequest { scopes, user, status });
    match answer {
        Ok(token) => {
            let body = json!({"token": token, "access_token": token, "expires_in": rules.lifetime.as_secs()});
            ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
        }
        Err(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, json!({"details": "the token server refuses"}).to_string()).into_response()
        }
    }
}

/// Who asks: the user, nobody in particular, or somebody with wrong credentials.
fn who(headers: &HeaderMap) -> Result<Option<String>, ()> {
    match headers.get(header::AUTHORIZATION) {
        None => Ok(None),
        Some(value) if value == basic(TokenServer::USER, TokenServer::PASSWORD).as_str() => {
            Ok(Some(TokenServer::USER.into()))
        }
        Some(_) => Err(()),
    }
}

/// What of `repository:NAME:ACTION,…` is granted; the specification wants the rest left out without an error.
fn grant(scope: &str, authenticated: bool, rules: &Rules) -> Option<Grant> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let public = kind == "repository" && !rules.private.contains(name);
    let granted = |action: &&str| authenticated || (public && *action == "pull");
    let actions: Vec<String> = actions.split(',').filter(granted).map(str::to_owned).collect();
    (!actions.is_empty()).then(|| Grant { kind: kind.into(), name: name.into(), actions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_in_particular_may_only_pull_and_only_what_is_public() {
        let rules = Rules {
            private: ["acme/secret".to_owned()].into(),
            lifetime: std::time::Duration::from_secs(1),
            refuse: None,
        };
        let actions = |scope, known| grant(scope, known, &rules).map(|grant| grant.actions.join(","));
        assert_eq!(actions("repository:acme/app:pull,push", false).as_deref(), Some("pull"));
        assert_eq!(actions("repository:acme/secret:pull", false), None);
        assert_eq!(actions("repository:acme/secret:pull,push", true).as_deref(), Some("pull,push"));
        assert_eq!(actions("nonsense", true), None);
    }
}
