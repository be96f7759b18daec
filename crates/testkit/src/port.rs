//! Loopback ports.

use std::net::TcpListener;

use crate::error::{Doing, Result};

/// A loopback port that nobody listens on now. Somebody else may take it before you do: be ready to try another.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").doing(|| "binding a loopback port".into())?;
    Ok(listener.local_addr().doing(|| "asking for the port".into())?.port())
}
