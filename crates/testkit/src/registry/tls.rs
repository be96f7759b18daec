//! The same registry over TLS: a second process on the same storage.

use std::fs;
use std::time::{Duration, Instant};

use super::Registry;
use crate::certificate::Authority;
use crate::error::{Doing, Error, Result};
use crate::port::free_port;
use crate::process::{Process, Program};
use crate::scratch::Scratch;

/// A way to a [`Registry`] over TLS; dropping it ends that way.
#[derive(Debug)]
pub struct TlsFront {
    // before the directory that it lives in
    process: Process,
    port: u16,
    authority: String,
    _scratch: Scratch,
}

impl Registry {
    /// Opens a way to it over TLS, without authentication, for the names `127.0.0.1`, `localhost` and, for those who come
    /// through a proxy, `registry.test`.
    pub fn over_tls(&self) -> Result<TlsFront> {
        let authority = Authority::new()?;
        let issued = authority.issue(&["127.0.0.1", "localhost", "registry.test"])?;
        let scratch = Scratch::new("tls")?;
        let dir = scratch.path();
        let port = free_port()?;
        let storage = self.scratch.path().join("storage");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http:\n  addr: \"127.0.0.1:{port}\"\n  tls: {{certificate: {dir}/cert.pem, key: {dir}/key.pem}}\n",
            storage.display(),
            dir = dir.display(),
        );
        for (name, text) in [("cert.pem", &issued.certificate), ("key.pem", &issued.key), ("config.yml", &config)] {
            fs::write(dir.join(name), text).doing(|| format!("writing {name}"))?;
        }
        let program = Program::new("registry", "docker-registry").arg("serve").arg(dir.join("config.yml"));
        let process = program.start(&scratch)?;
        let mut front = TlsFront { process, port, authority: authority.pem().to_owned(), _scratch: scratch };
        front.until_ready()?;
        Ok(front)
    }
}

impl TlsFront {
    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate (PEM) of the authority to trust.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + super::READY;
        while std::net::TcpStream::connect(self.host()).is_err() {
            if self.process.ended().is_some() || Instant::now() > deadline {
                let log = self.process.tail();
                return Err(Error::NotReady { what: "docker-registry".into(), why: "it does not listen".into(), log });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
