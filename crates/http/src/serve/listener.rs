//! Where connections come in: a TCP port or a Unix socket.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::Peer;
use crate::error::HttpError;

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    key: &'static str,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection.
#[derive(Debug)]
pub enum Socket {
    /// Over the network.
    Tcp(TcpStream),
    /// On this host.
    Unix(UnixStream),
}

/// A connection and who made it.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: Socket,
    /// The other end.
    pub peer: Peer,
}

impl Listener {
    /// Binds an address; `key` is its key in `[listen]`, for the error. Must be called inside the runtime.
    pub fn tcp(key: &'static str, address: SocketAddr) -> Result<Self, HttpError> {
        let bind = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listener = bind().map_err(|source| HttpError::Bind { key, address, source })?;
        Ok(Self { key, inner: Inner::Tcp(listener) })
    }

    /// Takes over a Unix listener.
    pub fn unix(key: &'static str, listener: UnixListener) -> Self {
        Self { key, inner: Inner::Unix(listener) }
    }

    /// Its key in `[listen]`.
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// The bound address, with the port that the kernel chose where 0 was asked for; none on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.inner {
            Inner::Tcp(listener) => listener.local_addr().ok(),
            Inner::Unix(_) => None,
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                // answers are small and final: waiting for more to send only adds 40 ms
                stream.set_nodelay(true)?;
                let peer = Peer::Tcp { remote, local: stream.local_addr()? };
                Ok(Accepted { socket: Socket::Tcp(stream), peer })
            }
            Inner::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let credentials = stream.peer_cred()?;
                let peer = Peer::Unix { uid: credentials.uid(), pid: credentials.pid() };
                Ok(Accepted { socket: Socket::Unix(stream), peer })
            }
        }
    }
}
