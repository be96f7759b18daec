//! The local listener: page, JSON, metrics and health. Read-only; it answers only to its own names, so that a web page
//! elsewhere cannot read it through somebody's browser (DNS rebinding).

mod host;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Version, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use layerkeeper_keeper::Keeper;
use tokio_util::sync::CancellationToken;

use crate::error::HttpError;
use crate::events::Followers;
use crate::page;
use crate::problem::{Kind, Problem};
use crate::serve::{self, Listener, Peer, ServeSettings};
use crate::tell::{self, Tell};

/// How the local listener behaves.
#[derive(Debug, Clone, Default)]
pub struct LocalSettings {
    /// Names that it answers to, besides loopback's and the address that a connection came in on.
    pub status_hosts: Vec<String>,
    /// Connections.
    pub serve: ServeSettings,
}

/// A bound local listener.
#[derive(Debug)]
pub struct LocalListener(Listener);

/// A bound listener for a remote Prometheus: `/metrics` and `/healthz`, nothing else, under any name.
#[derive(Debug)]
pub struct MetricsListener(Listener);

impl LocalListener {
    /// Binds `[listen] status`. Must be called inside the runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        Listener::tcp("status", address).map(Self)
    }

    /// The bound address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `shutdown`; when this returns no connection is left.
    pub async fn serve(self, keeper: Keeper, settings: LocalSettings, shutdown: CancellationToken) {
        let tell = Tell { keeper, any_reference: false, followers: Followers::new(4, 32), shutdown: shutdown.clone() };
        serve::serve(self.0, router(tell, settings.status_hosts), settings.serve, shutdown).await;
    }
}

impl MetricsListener {
    /// Binds `[listen] metrics`. Must be called inside the runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        Listener::tcp("metrics", address).map(Self)
    }

    /// The bound address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until `shutdown`; when this returns no connection is left.
    pub async fn serve(self, keeper: Keeper, settings: ServeSettings, shutdown: CancellationToken) {
        let router = tell::metrics_routes(keeper).layer(middleware::map_response(guard_headers));
        serve::serve(self.0, router, settings, shutdown).await;
    }
}

fn router(tell: Tell, status_hosts: Vec<String>) -> Router {
    tell::routes(tell)
        .layer(middleware::from_fn_with_state(Arc::new(status_hosts), refuse_foreign_hosts))
        .layer(middleware::map_response(guard_headers))
}

async fn refuse_foreign_hosts(State(hosts): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
    let local = match request.extensions().get::<Peer>() {
        Some(Peer::Tcp { local, .. }) => Some(local.ip()),
        _ => None,
    };
    let header = request.headers().get(header::HOST).map(HeaderValue::to_str);
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let verdict = match (header, request.version()) {
        (Some(Ok(host)), _) if !host::is_ours(host, local, &hosts) => Err(host.to_owned()),
        (Some(Err(_)), _) => Err("not ASCII".to_owned()),
        // RFC 9112, section 3.2: HTTP/1.1 has it always. A browser does too, so older probes without one are harmless.
        (None, version) if version >= Version::HTTP_11 && authority.is_none() => {
            return Problem::new(Kind::Malformed, "the Host header is missing").into_response();
        }
        _ => match authority {
            Some(authority) if !host::is_ours(authority, local, &hosts) => Err(authority.to_owned()),
            _ => Ok(()),
        },
    };
    match verdict {
        Ok(()) => next.run(request).await,
        Err(name) => {
            let detail = format!("this listener does not answer to {name:?}; add it to status_hosts if it should");
            Problem::new(Kind::ForeignHost, detail).into_response()
        }
    }
}

/// No scripts, no frames, no guessing of types, nothing kept.
async fn guard_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, page::content_security_policy());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
