//! What may happen to a deploy server: everything here can be done to a fake engine and to a real one.

use std::fmt;

use layerkeeper_core::policy::RemoveSuperseded;
use proptest::prelude::*;

/// How many versions CI builds.
pub const VERSIONS: u8 = 6;
/// The kept images, in the order of the file. The last one is pinned to its first build.
pub const KEPT: [&str; 3] = ["base:1", "cache-python:1", "tools:1"];
/// Which of them is pinned.
pub const PINNED: usize = 2;
/// Names of somebody else's.
pub const FOREIGN: u8 = 2;

/// A name that something happens to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The nth kept image.
    Kept(usize),
    /// A tag of the runtime repository.
    Version(u8),
    /// Somebody else's.
    Foreign(u8),
}

/// What a deploy asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The tag, whatever it shows.
    Tag,
    /// The newest build by its digest.
    Newest,
    /// The first build by its digest: a rollback.
    First,
}

/// What a reload changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub keep_last: usize,
    pub keep_min: usize,
    pub min_age_h: u64,
    pub superseded: RemoveSuperseded,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// CI builds a version, once more where it is there: then its tag moves.
    Build(u8),
    /// The same, and deploys it, with the digest or without.
    Ship(u8, bool),
    /// A deploy of what was built, or was not.
    Deploy(u8, Wish),
    /// A kept image is built anew: its tag moves at the registry.
    Move(usize),
    /// `layerkeeper prewarm`, of one or of all.
    Prewarm(Option<usize>),
    /// `layerkeeper prune`
    Prune { superseded: bool },
    /// `layerkeeper forget`
    Forget(Name),
    /// Another configuration.
    Reload(Rules),
    /// Somebody removes a name.
    Untag(Name),
    /// Somebody runs `docker image prune -a`.
    CleanUp,
    /// Somebody tags locally.
    Tag { from: Name, to: Name },
    /// Somebody creates a container.
    Create(Name),
    /// Somebody removes one.
    Drop(u8),
    /// kill -9 of the keeper, and a start.
    Kill,
    /// Minutes pass.
    Pass(u16),
}

impl Name {
    /// Behind `acme/`.
    pub fn text(self) -> String {
        match self {
            Self::Kept(n) => KEPT[n % KEPT.len()].to_owned(),
            Self::Version(n) => format!("app:sha-{n}"),
            Self::Foreign(n) => format!("other:{n}"),
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { keep_last: 2, keep_min: 1, min_age_h: 1, superseded: RemoveSuperseded::Never }
    }
}

/// Any version.
pub fn version() -> impl Strategy<Value = u8> {
    0..VERSIONS
}

/// A name that may be here.
pub fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        3 => (0..KEPT.len()).prop_map(Name::Kept),
        5 => version().prop_map(Name::Version),
        1 => (0..FOREIGN).prop_map(Name::Foreign),
    ]
}

/// Anything that can be done to both engines.
pub fn operation() -> impl Strategy<Value = Operation> {
    let superseded = prop_oneof![
        Just(RemoveSuperseded::Never),
        Just(RemoveSuperseded::OnPressure),
        Just(RemoveSuperseded::After(std::time::Duration::from_secs(7200))),
    ];
    let rules = (1usize..4, 1usize..3, 0u64..3, superseded)
        .prop_map(|(keep_last, keep_min, min_age_h, superseded)| Rules { keep_last, keep_min, min_age_h, superseded });
    let wish = prop_oneof![Just(Wish::Tag), Just(Wish::Newest), Just(Wish::First)];
    prop_oneof![
        16 => (version(), any::<bool>()).prop_map(|(v, digest)| Operation::Ship(v, digest)),
        5 => (version(), wish).prop_map(|(v, wish)| Operation::Deploy(v, wish)),
        2 => version().prop_map(Operation::Build),
        3 => (0..KEPT.len()).prop_map(Operation::Move),
        3 => proptest::option::of(0..KEPT.len()).prop_map(Operation::Prewarm),
        5 => any::<bool>().prop_map(|superseded| Operation::Prune { superseded }),
        2 => name().prop_map(Operation::Forget),
        2 => rules.prop_map(Operation::Reload),
        5 => name().prop_map(Operation::Untag),
        1 => Just(Operation::CleanUp),
        3 => (name(), name()).prop_map(|(from, to)| Operation::Tag { from, to }),
        3 => name().prop_map(Operation::Create),
        3 => any::<u8>().prop_map(Operation::Drop),
        2 => Just(Operation::Kill),
        8 => prop_oneof![1u16..10, 40u16..200].prop_map(Operation::Pass),
    ]
}
