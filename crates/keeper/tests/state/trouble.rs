//! What happens only on the fake engine: faults that real parts do not have on demand.

use layerkeeper_core::{ContainerState, StoreKind};
use layerkeeper_engine::EngineError;
use layerkeeper_engine::fake::Fault;
use proptest::prelude::*;

use super::operation::{Name, Operation, name, operation, version};
use super::shorten::Sequences;

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// For everything.
    Plenty,
    /// So many megabytes above the floor.
    Tight(u64),
    /// The floor is broken already.
    None,
}

/// Something that goes wrong, or right again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The tag goes at the registry; what it showed can still be had by its digest.
    Unpublish(u8),
    /// A deploy by the digest of the platform's manifest inside the tag's index.
    DeployInside(u8),
    /// Somebody runs `docker image prune`.
    CleanUpDangling,
    /// Somebody pulls.
    Pull(Name),
    /// Somebody creates a container, and it comes to that state.
    Create(Name, ContainerState),
    /// The disk shrinks or grows.
    Disk(Room),
    /// The next pull goes wrong.
    SpoilPull(Fault),
    /// The next removal fails.
    SpoilRemoval(EngineError),
    /// What hangs goes on.
    Release,
    /// The engine stops or starts.
    Engine { up: bool },
    /// The engine is started with the other image store.
    Flip,
    /// The registry can be reached by the keeper, by the engine, or not.
    Registry { keeper: bool, engine: bool },
    /// The keeper dies when it comes to that step, and is started again.
    DieAt(&'static str),
    /// The keeper is stopped and started.
    Stop,
    /// The wall clock jumps by a day.
    Jump { ahead: bool },
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Does(Operation),
    Trouble(Trouble),
}

/// How long all is left alone before the next thing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until nothing moves any more, or will not for long.
    UntilIdle,
    /// Until the keeper was busy so many times.
    Moments(u8),
}

/// One step.
#[derive(Clone, PartialEq, Eq)]
pub struct Step {
    pub event: Event,
    pub then: Patience,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.event {
            Event::Does(operation) => write!(f, "{operation:?}")?,
            Event::Trouble(trouble) => write!(f, "{trouble:?}")?,
        }
        match self.then {
            Patience::UntilIdle => Ok(()),
            Patience::Moments(n) => write!(f, ", {n} moments"),
        }
    }
}

fn error() -> impl Strategy<Value = EngineError> {
    let text = |what: &str| what.to_owned();
    prop_oneof![
        Just(EngineError::NotFound(text("spoilt"))),
        Just(EngineError::Denied(text("spoilt"))),
        Just(EngineError::TooManyRequests(text("spoilt"))),
        Just(EngineError::RegistryUnreachable(text("spoilt"))),
        Just(EngineError::NoSpace(text("spoilt"))),
        Just(EngineError::BadContent(text("spoilt"))),
        Just(EngineError::Vanished(text("spoilt"))),
        Just(EngineError::Unfinished),
        Just(EngineError::Malformed(text("spoilt"))),
        Just(EngineError::Other(text("spoilt"))),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        error().prop_map(Fault::Refuse),
        (0usize..12, error()).prop_map(|(at, error)| Fault::FailAt(at, error)),
        (0usize..12).prop_map(Fault::CutAt),
        (0usize..12).prop_map(Fault::HangAt),
    ]
}

fn state() -> impl Strategy<Value = ContainerState> {
    prop_oneof![
        Just(ContainerState::Created),
        Just(ContainerState::Running),
        Just(ContainerState::Paused),
        Just(ContainerState::Restarting),
        Just(ContainerState::Removing),
        Just(ContainerState::Exited),
        Just(ContainerState::Dead),
        Just(ContainerState::Other),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let room = prop_oneof![
        3 => Just(Room::Plenty),
        4 => (0u64..200).prop_map(Room::Tight),
        1 => (200u64..5000).prop_map(Room::Tight),
        1 => Just(Room::None),
    ];
    let removal = prop_oneof![
        Just(EngineError::Conflict("spoilt".to_owned())),
        Just(EngineError::NotFound("spoilt".to_owned())),
        Just(EngineError::Other("spoilt".to_owned())),
    ];
    prop_oneof![
        1 => version().prop_map(Trouble::Unpublish),
        1 => version().prop_map(Trouble::DeployInside),
        2 => Just(Trouble::CleanUpDangling),
        2 => name().prop_map(Trouble::Pull),
        4 => (name(), state()).prop_map(|(name, state)| Trouble::Create(name, state)),
        6 => room.prop_map(Trouble::Disk),
        6 => fault().prop_map(Trouble::SpoilPull),
        1 => removal.prop_map(Trouble::SpoilRemoval),
        3 => Just(Trouble::Release),
        2 => proptest::bool::weighted(0.75).prop_map(|up| Trouble::Engine { up }),
        1 => Just(Trouble::Flip),
        2 => (proptest::bool::weighted(0.75), proptest::bool::weighted(0.75))
            .prop_map(|(keeper, engine)| Trouble::Registry { keeper, engine }),
        3 => (0..layerkeeper_keeper::POINTS.len()).prop_map(|at| Trouble::DieAt(layerkeeper_keeper::POINTS[at])),
        1 => Just(Trouble::Stop),
        1 => any::<bool>().prop_map(|ahead| Trouble::Jump { ahead }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let event = prop_oneof![
        3 => operation().prop_map(Event::Does),
        1 => trouble().prop_map(Event::Trouble),
    ];
    let then = prop_oneof![
        1 => Just(Patience::UntilIdle),
        2 => (0u8..20).prop_map(Patience::Moments),
    ];
    (event, then).prop_map(|(event, then)| Step { event, then })
}

/// Sequences of so many steps, on an engine with either store.
pub fn sequence(steps: usize) -> impl Strategy<Value = (StoreKind, Vec<Step>)> {
    let kind = prop_oneof![Just(StoreKind::Graphdriver), Just(StoreKind::Containerd)];
    (kind, Sequences { step: step(), steps })
}
