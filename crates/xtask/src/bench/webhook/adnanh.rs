//! adnanh/webhook, Debian's `webhook`: one hook that runs /bin/true where the body's HMAC is right.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use layerkeeper_testkit::{Process, Program, Scratch, free_port};

/// A running one.
pub struct Adnanh {
    // before the directory that it lives in
    process: Process,
    port: u16,
    _scratch: Scratch,
}

impl Adnanh {
    /// Its hook.
    pub const PATH: &str = "/hooks/deploy";

    /// Starts it.
    pub fn start(secret: &str) -> Result<Self> {
        let scratch = Scratch::new("adnanh")?;
        let hooks = scratch.path().join("hooks.json");
        let rule = serde_json::json!([{
            "id": "deploy",
            "execute-command": "/bin/true",
            "trigger-rule-mismatch-http-response-code": 401,
            "trigger-rule": {"match": {
                "type": "payload-hmac-sha256",
                "secret": secret,
                "parameter": {"source": "header", "name": "X-Hub-Signature-256"},
            }},
        }]);
        fs::write(&hooks, rule.to_string())?;
        let port = free_port()?;
        let program = Program::new("webhook", "webhook").arg("-hooks").arg(&hooks).args(["-ip", "127.0.0.1", "-port"]);
        let process = program.arg(port.to_string()).start(&scratch)?;
        let mut started = Self { process, port, _scratch: scratch };
        let begun = Instant::now();
        while TcpStream::connect(started.address()).is_err() {
            if started.process.ended().is_some() || begun.elapsed() > Duration::from_secs(10) {
                bail!("webhook does not listen: {}", started.process.tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(started)
    }

    /// `HOST:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
