//! Starts an engine and a registry, says where, and waits: the test of what remains after `kill -9` kills this.

use layerkeeper_testkit::{Auth, Engine, EngineKind, Registry, Result};

fn main() -> Result<()> {
    let kind = match std::env::args().nth(1).as_deref() {
        Some("B") => EngineKind::B,
        Some("C") => EngineKind::C,
        _ => EngineKind::A,
    };
    let registry = Registry::start(Auth::Open)?;
    let engine = Engine::start(kind)?;
    let directory = engine.data_root().parent().unwrap_or(engine.data_root());
    let pid = engine.pid().unwrap_or_default();
    #[expect(clippy::print_stdout, reason = "the test reads it")]
    {
        println!("{pid} {} {} {}", directory.display(), engine.host(), registry.host());
    }
    loop {
        std::thread::park();
    }
}
