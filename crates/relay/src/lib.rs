//! The relay: a read-only OCI distribution endpoint on loopback, open while one pull runs, which the engine pulls from.
//!
//! Behind it blobs come in parallel pieces, over as many connections as are worth it, from the origin and its mirrors,
//! into a spool on disk. A blob is verified before its first byte is served, and then served byte for byte as the origin has
//! it: same digests, same manifest, nothing rewritten, nothing decompressed. Only what the engine asks for is fetched.
//!
//! A request's way: `serve.rs` takes it, `serve/blob.rs` asks the desk, `desk/deal.rs` sends for the pieces, `piece.rs` fetches
//! one, `underway.rs` cuts what is hopelessly slow, `fetching.rs` puts them together and hashes them, `desk/judge.rs` judges,
//! and `serve/blob.rs` answers from the file.

mod climb;
mod desk;
mod error;
mod fetching;
#[doc(hidden)]
pub mod fuzz;
mod gaps;
mod limit;
mod piece;
mod probe;
mod relay;
mod serve;
mod snapshot;
mod source;
mod spool;
mod underway;

pub use error::RelayError;
pub use limit::Limit;
pub use probe::{Measured, Probe, probe};
pub use relay::{Order, Relay, Relays, Settings};
pub use snapshot::{BlobSnapshot, Snapshot, Speed};
pub use spool::{Entry, Spool};
