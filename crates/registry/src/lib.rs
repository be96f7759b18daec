//! A client for registries that speak the OCI distribution protocol, as far as planning needs it: what a reference
//! resolves to, and which layers one platform's image is made of; and blobs in pieces, for the relay.
//!
//! Everything a registry sends is taken as hostile: bodies are bounded, every manifest and config is checked against
//! its digest, redirects lose the `Authorization` header when they leave the registry, and no secret and no signed
//! address reaches an [`Error`].
//!
//! Sources: OCI distribution specification 1.1, `docs.docker.com/registry/spec/auth`, RFC 9110.

mod cache;
pub mod challenge;
mod client;
mod credential;
mod docker_config;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod image;
mod media_type;
mod platform;
mod retry_after;
mod secret;
mod session;
mod settings;
mod tokens;
mod transport;
mod wire;

pub use client::{Blob, Client, Document, Fetched, Piece, Probe, Resolved};
pub use credential::{Credential, Login, Source};
pub use error::{Detail, Error, NotAnImage};
pub use secret::Secret;
pub use settings::Settings;
