//! The links that are measured, and one that is up.

use std::time::Duration;

use anyhow::Result;
use layerkeeper_testkit::{Line, Registry, Traits};

use super::front::Front;
use super::images::Kind;

/// Of a capped link, in all; more than three connections need, less than an engine unpacks.
const CAP: u64 = 20;

/// What a link gives, in MB/s, and how long its way is, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub per_connection: Option<u64>,
    pub in_all: Option<u64>,
    pub round_trip: u64,
}

/// A link that is up.
pub struct Road {
    // before what it leads to
    line: Option<Line>,
    pub front: Front,
}

impl Link {
    const OPEN: Self = Self { per_connection: None, in_all: None, round_trip: 0 };
    const CAPPED: Self = Self { in_all: Some(CAP), ..Self::OPEN };

    const fn slow(per_connection: u64) -> Self {
        Self { per_connection: Some(per_connection), ..Self::OPEN }
    }

    const fn far(self, round_trip: u64) -> Self {
        Self { round_trip, ..self }
    }

    /// All that are measured, and with what. A cold image comes first: by it a daemon learns the link.
    pub fn all() -> Vec<(Self, Vec<Kind>)> {
        let every = || vec![Kind::Cold, Kind::Next, Kind::Huge];
        let near = [Self::OPEN, Self::slow(16), Self::slow(4), Self::slow(1), Self::CAPPED];
        let far = [Self::OPEN.far(50), Self::OPEN.far(200), Self::slow(4).far(50), Self::slow(4).far(200)];
        let near = near.into_iter().map(|link| (link, every()));
        near.chain(far.into_iter().map(|link| (link, vec![Kind::Cold, Kind::Next]))).collect()
    }

    /// The names of all that are measured.
    pub fn names() -> String {
        Self::all().iter().map(|(link, _)| link.named()).collect::<Vec<_>>().join("; ")
    }

    /// What the targets are of, with that which takes longest or without it.
    pub fn targets(long: bool) -> Vec<(Self, Vec<Kind>)> {
        let mut links = vec![
            (Self::slow(4), vec![Kind::Cold, Kind::Next]),
            (Self::OPEN, vec![Kind::Cold]),
            (Self::CAPPED, vec![Kind::Cold]),
        ];
        if long {
            links.push((Self::slow(1), vec![Kind::Huge]));
        }
        links
    }

    /// A few of them.
    pub fn few() -> Vec<(Self, Vec<Kind>)> {
        vec![
            (Self::slow(4), vec![Kind::Cold, Kind::Next, Kind::Huge]),
            (Self::OPEN, vec![Kind::Cold]),
            (Self::CAPPED, vec![Kind::Cold]),
        ]
    }

    /// Nothing is to be won here, for one connection fills it or a few do.
    pub fn is_filled(self) -> bool {
        self.per_connection.is_none() && self.round_trip == 0
    }

    /// In a table.
    pub fn named(self) -> String {
        let mut name = match (self.per_connection, self.in_all) {
            (Some(rate), _) => format!("{rate} MB/s per connection"),
            (None, Some(rate)) => format!("{rate} MB/s in all"),
            (None, None) => "no limit".to_owned(),
        };
        if self.round_trip > 0 {
            name += &format!(", {} ms", self.round_trip);
        }
        name
    }

    /// Lays it to this registry.
    pub fn lay(self, registry: &Registry) -> Result<Road> {
        let bytes = |mb: u64| mb * 1_000_000;
        let front = match self.in_all {
            Some(rate) => Front::capped(registry, bytes(rate))?,
            None => Front::start(registry, self.per_connection.map(bytes))?,
        };
        let traits =
            Traits { rate: self.per_connection.map(bytes), round_trip: Duration::from_millis(self.round_trip) };
        let needed = traits.rate.is_some() || self.round_trip > 0;
        let line = needed.then(|| Line::start(front.host(), traits)).transpose()?;
        Ok(Road { line, front })
    }
}

impl Road {
    /// Where the registry is reached: `HOST:PORT`.
    pub fn host(&self) -> String {
        self.line.as_ref().map_or_else(|| self.front.host().to_owned(), Line::host)
    }
}
