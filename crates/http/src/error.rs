//! What can go wrong before a listener listens.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a listener, a secret or a certificate cannot be used. Every message names the configuration's key.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be bound.
    #[error("[listen] {key} = \"{address}\": {}", bind_reason(.source))]
    Bind {
        /// The key in `[listen]`.
        key: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another daemon answers on the control socket.
    #[error("[listen] control = \"{}\": another daemon answers on this socket; stop it, or give this one its own", path.display())]
    SocketInUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// The control socket's path holds something that is no socket; it is left alone.
    #[error("[listen] control = \"{}\": there is a file here that is not a socket; remove it or choose another path", path.display())]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The control socket cannot be made.
    #[error("[listen] control = \"{}\": cannot {step}: {source}", path.display())]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The webhook secret is unfit.
    #[error("the webhook secret {0}")]
    Secret(#[from] SecretError),
    /// The certificate or its key is unfit.
    #[error("[webhook] {key}: {reason}")]
    Tls {
        /// `tls_cert` or `tls_key`.
        key: &'static str,
        /// What is wrong, without any of the key's content.
        reason: String,
    },
}

/// Why a secret file's content is unfit. Never holds any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing there.
    #[error("is empty; write one with: openssl rand -base64 32")]
    Empty,
    /// More lines than rotation needs.
    #[error("has {0} lines; one is a secret, two are the new one and the old one during a rotation")]
    TooManyLines(usize),
    /// Too easy to guess.
    #[error(
        "has {bytes} bytes in line {line}; it needs at least {}, better 32 (openssl rand -base64 32)",
        crate::secret::MIN_SECRET_BYTES
    )]
    TooShort {
        /// Counted from 1.
        line: usize,
        /// How many bytes it has.
        bytes: usize,
    },
    /// `whsec_` promises base64.
    #[error("starts line {line} with \"whsec_\", but what follows is not base64")]
    Base64 {
        /// Counted from 1.
        line: usize,
    },
}

impl HttpError {
    /// May it be gone at the next try, without anybody doing something? An address comes with its interface, which may
    /// be later than we at boot; a port that another program has is a matter of configuration.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable)
    }
}

fn bind_reason(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens on this address; stop it or choose another port".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address, or not yet".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "not allowed to bind it; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => source.to_string(),
    }
}
