//! One engine of each kind per test process, started when first asked for.

use std::sync::OnceLock;

use super::{Engine, EngineKind};

/// The engines that all tests of this process share.
///
/// Nobody may stop them, and nobody may count on an empty store: use repositories of your own. They end with the
/// process.
#[derive(Debug)]
pub struct Engines;

impl Engines {
    /// The shared engine of this kind. Panics where it does not start: no test can go on without it.
    pub fn of(kind: EngineKind) -> &'static Engine {
        static ENGINES: [OnceLock<Engine>; 3] = [const { OnceLock::new() }; 3];
        let place = match kind {
            EngineKind::A => 0,
            EngineKind::B => 1,
            EngineKind::C => 2,
        };
        ENGINES[place].get_or_init(|| match Engine::start(kind) {
            Ok(engine) => engine,
            Err(error) => panic!("{error}"),
        })
    }

    /// A, B and C, started at the same time.
    pub fn all() -> [&'static Engine; 3] {
        std::thread::scope(|scope| {
            for kind in EngineKind::ALL {
                scope.spawn(move || Self::of(kind));
            }
        });
        EngineKind::ALL.map(Self::of)
    }
}
