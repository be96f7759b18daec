//! What goes wrong on a server.

use std::time::Duration;

use anyhow::Result;
use layerkeeper_core::Bytes;
use layerkeeper_testkit::proxy::Fault;

use super::Ground;
use super::story::Random;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// kill -9 of the daemon, and a start.
    DaemonKilled,
    /// It is stopped and started, as by an upgrade.
    DaemonRestarted,
    /// `docker system prune -af`
    SystemPrune,
    /// `docker image prune -f`, what a pull has not named yet included.
    ImagePrune,
    /// `docker rmi` of a kept image.
    KeptRemoved,
    /// A container on the newest version; the one before it goes.
    Container,
    /// The engine is restarted.
    EngineRestarted,
    /// kill -9 of the engine, and a start.
    EngineKilled,
    /// The engine answers nobody.
    EngineHangs,
    /// The registry takes no connection.
    RegistryAway,
    /// The registry says 503.
    RegistryBusy,
    /// The registry says 429 and Retry-After.
    TooManyRequests,
    /// Blobs break off in the middle.
    Cut,
    /// Blobs stop coming, and the connection stays.
    Stalled,
    /// The link is ten times slower.
    Slow,
}

impl Trouble {
    /// Each.
    pub const ALL: [Self; 15] = [
        Self::DaemonKilled,
        Self::DaemonRestarted,
        Self::SystemPrune,
        Self::ImagePrune,
        Self::KeptRemoved,
        Self::Container,
        Self::EngineRestarted,
        Self::EngineKilled,
        Self::EngineHangs,
        Self::RegistryAway,
        Self::RegistryBusy,
        Self::TooManyRequests,
        Self::Cut,
        Self::Stalled,
        Self::Slow,
    ];

    /// How long it goes on, at least and at most; none: it has happened.
    pub fn lasts(self) -> Option<(Duration, Duration)> {
        let seconds = |least, most| Some((Duration::from_secs(least), Duration::from_secs(most)));
        match self {
            Self::EngineHangs => seconds(2, 15),
            Self::RegistryAway | Self::RegistryBusy | Self::TooManyRequests | Self::Cut => seconds(3, 25),
            Self::Stalled => seconds(10, 45),
            Self::Slow => seconds(5, 30),
            _ => None,
        }
    }

    /// It happens.
    pub fn begins(self, ground: &mut Ground, random: &mut Random) -> Result<()> {
        let blobs = |fault: Fault| fault.on_path("/blobs/");
        match self {
            Self::DaemonKilled => {
                ground.server.kill()?;
                start(ground)?;
            }
            Self::DaemonRestarted => {
                ground.server.stop()?;
                start(ground)?;
            }
            // what it finds in use it leaves, and says so
            Self::SystemPrune => drop(ground.engine.docker(["system", "prune", "-af"]).output()?),
            Self::ImagePrune => drop(ground.engine.docker(["image", "prune", "-f"]).output()?),
            Self::KeptRemoved => {
                let name = ground.kept[random.below(ground.kept.len() as u64) as usize].to_string();
                drop(ground.engine.docker(["rmi", &name]).output()?);
            }
            Self::Container => {
                drop(ground.engine.docker(["rm", "-f", "app"]).output()?);
                let name = ground.newest().map(ToString::to_string).unwrap_or_default();
                drop(ground.engine.docker(["create", "--pull=never", "--name", "app", &name]).output()?);
            }
            Self::EngineRestarted => ground.engine.restart()?,
            Self::EngineKilled => {
                ground.engine.kill9();
                ground.engine.start_again()?;
            }
            Self::EngineHangs => ground.engine.freeze()?,
            Self::RegistryAway => ground.proxy.add(Fault::close()),
            Self::RegistryBusy => ground.proxy.add(Fault::answer(503)),
            Self::TooManyRequests => ground.proxy.add(Fault::answer(429).header("Retry-After", "5")),
            Self::Cut => ground.proxy.add(blobs(Fault::cut_after(Bytes(random.below(10_000_000))))),
            Self::Stalled => ground.proxy.add(blobs(Fault::stall_after(Bytes(random.below(10_000_000))))),
            Self::Slow => ground.proxy.throttle(Some(Bytes(super::LINK.0 / 10))),
        }
        Ok(())
    }

    /// It is over.
    pub fn ends(self, ground: &mut Ground) -> Result<()> {
        match self {
            Self::EngineHangs => ground.engine.thaw()?,
            Self::Slow => ground.proxy.throttle(Some(super::LINK)),
            _ => ground.proxy.clear(),
        }
        Ok(())
    }

    /// As the table names it.
    pub fn short(self) -> &'static str {
        match self {
            Self::DaemonKilled => "kill -9 daemon",
            Self::DaemonRestarted => "restart daemon",
            Self::SystemPrune => "system prune -af",
            Self::ImagePrune => "image prune -f",
            Self::KeptRemoved => "rmi kept",
            Self::Container => "container",
            Self::EngineRestarted => "restart engine",
            Self::EngineKilled => "kill -9 engine",
            Self::EngineHangs => "engine hangs",
            Self::RegistryAway => "registry away",
            Self::RegistryBusy => "registry 503",
            Self::TooManyRequests => "registry 429",
            Self::Cut => "blobs cut",
            Self::Stalled => "blobs stall",
            Self::Slow => "slow link",
        }
    }
}

fn start(ground: &mut Ground) -> Result<()> {
    ground.server.spawn(None)?;
    ground.server.until_healthy()
}
