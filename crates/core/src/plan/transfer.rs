//! How content is to come: by the engine's own pull, or through the relay. By what the link to the registry was measured to
//! give, and only where the relay pays.

use std::fmt;

use crate::bytes::Bytes;

/// What the configuration says (`transfer`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferMode {
    /// The relay where it is expected to be faster by a fifth and more.
    #[default]
    Auto,
    /// Always the engine's own pull.
    Engine,
    /// The relay wherever it can be.
    Relay,
}

/// What the link to one registry gave, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Link {
    /// One connection.
    pub one: Option<f64>,
    /// Three, as many as an engine uses.
    pub three: Option<f64>,
    /// As many as gave most.
    pub many: Option<f64>,
    /// How many those were.
    pub connections: usize,
}

/// Which way was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The engine's own pull.
    Engine,
    /// Through the relay.
    Relay,
}

/// What the choice goes by.
#[derive(Debug, Clone)]
pub struct TransferQuestion<'q> {
    /// The configuration's word.
    pub mode: TransferMode,
    /// Why the relay cannot be used at all.
    pub hindrance: Option<&'q str>,
    /// A pull-through cache stands before the registry.
    pub cached: bool,
    /// What the link gave.
    pub link: Link,
    /// Sizes of the layers that are to be fetched, in the image's order.
    pub layers: &'q [Bytes],
    /// Compressed bytes that the engine unpacks in a second; none where that was never measured.
    pub unpacks: Option<f64>,
}

/// The way, and the numbers that it was chosen by.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferChoice {
    /// How content comes.
    pub way: Way,
    /// How long the engine's own pull is expected to take, in seconds.
    pub engine_seconds: Option<f64>,
    /// How long the relay is expected to take, in seconds.
    pub relay_seconds: Option<f64>,
    /// In words.
    pub reason: String,
}

/// The relay must be faster by so much.
pub const PAYS: f64 = 1.2;

/// With less than this, there is nothing to win.
pub const LEAST: Bytes = Bytes(2_000_000);

/// An engine fetches so many layers at once (`max-concurrent-downloads`).
const SLOTS: usize = 3;

/// Compressed bytes that an engine unpacks in a second where nobody has measured it: measured on two cores and overlay2.
const USUALLY_UNPACKS: f64 = 25e6;

/// What the relay hands to the engine over loopback in a second, once a layer is whole.
const LOOPBACK: f64 = 300e6;

/// Chooses.
pub fn choose_transfer(question: &TransferQuestion<'_>) -> TransferChoice {
    let total: Bytes = question.layers.iter().copied().sum();
    let (engine, relay) = (engine_seconds(question), relay_seconds(question));
    let choice = |way, reason: String| TransferChoice { way, engine_seconds: engine, relay_seconds: relay, reason };
    match (question.mode, question.hindrance) {
        (TransferMode::Engine, _) => choice(Way::Engine, "transfer = \"engine\"".to_owned()),
        (_, Some(hindrance)) => choice(Way::Engine, hindrance.to_owned()),
        (_, None) if total == Bytes::ZERO => choice(Way::Engine, "no layer is to be fetched".to_owned()),
        (TransferMode::Relay, None) => choice(Way::Relay, "transfer = \"relay\"".to_owned()),
        (TransferMode::Auto, None) if total < LEAST => choice(Way::Engine, format!("only {total} are to be fetched")),
        (TransferMode::Auto, None) if question.cached => {
            choice(Way::Relay, "a cache is set, which only the relay asks".to_owned())
        }
        (TransferMode::Auto, None) => match (engine, relay) {
            (Some(engine), Some(relay)) => {
                let way = if engine >= relay * PAYS { Way::Relay } else { Way::Engine };
                choice(
                    way,
                    format!("{} by itself, {} through the relay, {}", Seconds(engine), Seconds(relay), question.link),
                )
            }
            _ => choice(Way::Engine, "what the link to this registry gives was never measured".to_owned()),
        },
    }
}

/// How long the engine's own pull takes: three layers at a time, each over one connection, unpacked one after the other.
fn engine_seconds(question: &TransferQuestion<'_>) -> Option<f64> {
    let one = question.link.one.or(question.link.three.map(|three| three / SLOTS as f64))?;
    // what is not known to be more is taken for one connection's worth each
    let three = question.link.three.unwrap_or(one * SLOTS as f64).max(one);
    let rate_of = |busy: usize| match busy {
        0 | 1 => one,
        2 => (one * 2.0).min(three) / 2.0,
        _ => three / SLOTS as f64,
    };
    let mut left: Vec<f64> = question.layers.iter().map(|size| size.0 as f64).collect();
    let mut done = vec![0.0; left.len()];
    let (mut now, mut next) = (0.0, 0);
    let mut busy: Vec<usize> = Vec::new();
    loop {
        while busy.len() < SLOTS && next < left.len() {
            busy.push(next);
            next += 1;
        }
        let Some(first) = busy.iter().map(|layer| left[*layer]).reduce(f64::min) else { break };
        let rate = rate_of(busy.len()).max(1.0);
        now += first / rate;
        for layer in &busy {
            left[*layer] -= first;
            if left[*layer] <= 0.0 {
                done[*layer] = now;
            }
        }
        busy.retain(|layer| left[*layer] > 0.0);
    }
    Some(unpacked(question, &done))
}

/// How long it takes through the relay: layer after layer with all connections, each handed over when it is whole.
fn relay_seconds(question: &TransferQuestion<'_>) -> Option<f64> {
    let many = question.link.many?.max(1.0);
    let mut now = 0.0;
    let done: Vec<f64> = question
        .layers
        .iter()
        .map(|size| {
            now += size.0 as f64 / many;
            now + size.0 as f64 / LOOPBACK
        })
        .collect();
    Some(unpacked(question, &done))
}

/// When the last layer is unpacked, if they come at these times.
fn unpacked(question: &TransferQuestion<'_>, done: &[f64]) -> f64 {
    let unpacks = question.unpacks.unwrap_or(USUALLY_UNPACKS).max(1.0);
    let layers = question.layers.iter().zip(done);
    layers.fold(0.0, |end: f64, (size, came)| end.max(*came) + size.0 as f64 / unpacks)
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |rate: Option<f64>| rate.map_or("?".to_owned(), |rate| format!("{}/s", Bytes(rate as u64)));
        write!(
            f,
            "where one connection gives {}, three give {} and {} give {}",
            rate(self.one),
            rate(self.three),
            self.connections,
            rate(self.many)
        )
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine => "engine",
            Self::Relay => "relay",
        })
    }
}

/// A time as people say it.
struct Seconds(f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10.0 { write!(f, "{:.1} s", self.0) } else { write!(f, "{:.0} s", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MB: u64 = 1_000_000;

    fn link(one: f64, three: f64, many: f64) -> Link {
        let rate = |mb: f64| Some(mb * MB as f64);
        Link { one: rate(one), three: rate(three), many: rate(many), connections: 16 }
    }

    fn ask(link: Link, layers: &[u64]) -> TransferChoice {
        ask_with(link, false, layers)
    }

    fn ask_with(link: Link, cached: bool, layers: &[u64]) -> TransferChoice {
        let layers: Vec<Bytes> = layers.iter().map(|mb| Bytes(mb * MB)).collect();
        let mode = TransferMode::Auto;
        choose_transfer(&TransferQuestion { mode, hindrance: None, cached, link, layers: &layers, unpacks: None })
    }

    #[test]
    fn slow_connections_are_what_the_relay_is_for() {
        let choice = ask(link(4.0, 12.0, 64.0), &[100, 300, 80, 22]);
        assert_eq!(choice.way, Way::Relay);
        // measured on 20.10: 92 s against 25 to 28 s
        let (engine, relay) = (choice.engine_seconds.unwrap(), choice.relay_seconds.unwrap());
        assert!((75.0..105.0).contains(&engine), "{choice:?}");
        assert!((20.0..30.0).contains(&relay), "{choice:?}");
        assert!(choice.reason.contains("one connection gives 4.00 MB/s"), "{}", choice.reason);
    }

    #[test]
    fn a_link_that_is_filled_or_fast_is_left_to_the_engine() {
        assert_eq!(ask(link(4.0, 4.1, 4.2), &[300]).way, Way::Engine, "one connection fills it");
        assert_eq!(
            ask(link(100.0, 250.0, 400.0), &[100, 300, 80]).way,
            Way::Engine,
            "unpacking is what takes the time"
        );
        assert_eq!(ask(link(4.0, 12.0, 64.0), &[1]).way, Way::Engine, "too little to win");
    }

    #[test]
    fn one_huge_layer_gains_most() {
        let choice = ask(link(1.0, 3.0, 16.0), &[1000]);
        let gain = choice.engine_seconds.unwrap() / choice.relay_seconds.unwrap();
        assert!(choice.way == Way::Relay && gain > 8.0, "{choice:?}");
    }

    #[test]
    fn what_was_never_measured_or_cannot_be_goes_the_engines_way() {
        assert_eq!(ask(Link::default(), &[300]).way, Way::Engine);
        let layers = [Bytes(300 * MB)];
        let link = link(1.0, 3.0, 16.0);
        let with = |mode, hindrance| {
            let cached = false;
            choose_transfer(&TransferQuestion { mode, hindrance, cached, link, layers: &layers, unpacks: None })
        };
        assert_eq!(with(TransferMode::Relay, Some("the engine is elsewhere")).way, Way::Engine);
        assert_eq!(with(TransferMode::Engine, None).way, Way::Engine);
        assert_eq!(with(TransferMode::Relay, None).way, Way::Relay);
        let mode = TransferMode::Relay;
        let nothing = TransferQuestion { mode, hindrance: None, cached: false, link, layers: &[], unpacks: None };
        assert_eq!(choose_transfer(&nothing).way, Way::Engine);
    }

    #[test]
    fn a_cache_is_gone_through_whatever_the_link_gives() {
        for link in [Link::default(), link(4.0, 4.1, 4.2)] {
            let choice = ask_with(link, true, &[300]);
            assert_eq!((choice.way, &*choice.reason), (Way::Relay, "a cache is set, which only the relay asks"));
            assert_eq!(ask_with(link, true, &[1]).way, Way::Engine, "too little to win");
        }
    }

    proptest! {
        /// Whatever was measured: the numbers are numbers, and auto takes the relay only where they say so.
        #[test]
        fn auto_goes_by_its_numbers(one in 0.01f64..500.0, more in 1.0f64..3.0, most in 1.0f64..20.0, layers in prop::collection::vec(1u64..2000, 0..12)) {
            let choice = ask(link(one, one * more, one * most), &layers);
            let (engine, relay) = (choice.engine_seconds.unwrap(), choice.relay_seconds.unwrap());
            prop_assert!(engine.is_finite() && relay.is_finite() && engine >= 0.0 && relay >= 0.0);
            if choice.way == Way::Relay {
                prop_assert!(engine >= relay * PAYS);
            }
        }
    }
}
