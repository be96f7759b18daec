//! The path to each registry: what one connection gives, what many give, what each mirror gives, and which way `transfer =
//! "auto"` would take for it.

use layerkeeper_core::Bytes;
use layerkeeper_core::plan::{Link, PAYS, TransferMode, TransferQuestion, Way, choose_transfer};

use super::finding::{Finding, Level};

/// With so many connections what many give is measured.
pub const MANY: usize = 8;

/// What was seen of the path to one registry.
#[derive(Debug, Clone, PartialEq)]
pub struct PathSeen {
    /// `ghcr.io`
    pub registry: String,
    /// The image whose largest layer was read in part.
    pub image: String,
    /// Sizes of its layers, in its order.
    pub layers: Vec<Bytes>,
    /// What the registry itself gave.
    pub origin: Given,
    /// The same of each mirror, in the order of the configuration.
    pub mirrors: Vec<(String, Given)>,
    /// Its pull-through caches, and why one gives nothing: of them no speed is measured, for whatever is read there they fetch.
    pub caches: Vec<(String, Result<(), String>)>,
    /// What the configuration says (`transfer`).
    pub mode: TransferMode,
    /// Why the relay cannot be used for this image, if so.
    pub hindrance: Option<&'static str>,
    /// A rate is set (`max_rate`), which only the relay keeps to.
    pub limited: bool,
}

/// What a place gave, in bytes per second over one connection and over [`MANY`]; or why it gave nothing.
pub type Given = Result<Rates, String>;

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// One connection.
    pub one: f64,
    /// [`MANY`] together.
    pub many: f64,
}

impl Rates {
    fn words(self) -> String {
        let rate = |rate: f64| format!("{}/s", Bytes(rate as u64));
        format!("one connection gives {}, {MANY} give {}", rate(self.one), rate(self.many))
    }
}

/// Judges it.
pub fn judge(seen: &PathSeen) -> Vec<Finding> {
    let registry = &seen.registry;
    let mut found = Vec::new();
    match &seen.origin {
        Ok(rates) => found.push(chosen(seen, *rates)),
        Err(cause) => found.push(
            Finding::new(
                Level::Warning,
                "path.unmeasured",
                format!("what the path to {registry} gives could not be measured: {cause}"),
            )
            .why("A pull of the same layer would fail, too, or the path is slower than a few kB/s")
            .mend(format!("layerkeeper plan {} tells whether its manifest comes; try again in a while", seen.image)),
        ),
    }
    found.extend(seen.mirrors.iter().map(|(mirror, given)| mirrored(seen, mirror, given)));
    found.extend(seen.caches.iter().map(|(cache, given)| cached(seen, cache, given)));
    found
}

/// What the registry itself gives, and which way a pull of the whole image would come.
fn chosen(seen: &PathSeen, rates: Rates) -> Finding {
    let best = seen.mirrors.iter().filter_map(|(_, given)| given.as_ref().ok()).map(|rates| rates.many);
    let many = best.fold(rates.many, f64::max);
    let link = Link { one: Some(rates.one), three: None, many: Some(many), connections: MANY };
    let hindrance = seen.hindrance;
    let (mode, cached) = (TransferMode::Auto, !seen.caches.is_empty());
    let question = TransferQuestion { mode, hindrance, cached, link, layers: &seen.layers, unpacks: None };
    let choice = choose_transfer(&question);
    let size: Bytes = seen.layers.iter().copied().sum();
    let seconds = |seconds: Option<f64>| seconds.map_or("?".to_owned(), |s| format!("{s:.0} s"));
    let measured = format!(
        "{}: {}; all {size} of {} would take {} by the engine itself and {} through the relay",
        seen.registry,
        rates.words(),
        seen.image,
        seconds(choice.engine_seconds),
        seconds(choice.relay_seconds)
    );
    match (seen.mode, choice.way) {
        (TransferMode::Engine, Way::Relay) => {
            Finding::new(Level::Note, "path.engine", format!("{measured}; transfer = \"engine\" leaves the relay out"))
                .why(format!("Such a pull takes more than {PAYS} times as long as it needs to"))
                .mend("transfer = \"auto\" in [pull], then sudo systemctl reload layerkeeper")
        }
        (TransferMode::Relay, Way::Engine) if hindrance.is_none() => Finding::new(
            Level::Note,
            "path.relay",
            format!("{measured}; transfer = \"relay\" takes the relay all the same"),
        )
        .why("Where one connection fills the link or the engine's unpacking takes the time, the relay only adds work")
        .mend("transfer = \"auto\" in [pull], then sudo systemctl reload layerkeeper"),
        (TransferMode::Engine, Way::Engine) => {
            Finding::ok("path.ok", format!("{measured}; transfer = \"engine\" takes the engine's own pull"))
        }
        (TransferMode::Relay, _) => match hindrance {
            Some(hindrance) => Finding::ok("path.ok", format!("{measured}; no relay, as {hindrance}")),
            None => Finding::ok("path.ok", format!("{measured}; transfer = \"relay\" takes the relay")),
        },
        (TransferMode::Auto, Way::Relay) if cached => {
            Finding::ok("path.ok", format!("{measured}; auto takes the relay, which asks the cache"))
        }
        (TransferMode::Auto, Way::Relay) => Finding::ok("path.ok", format!("{measured}; auto takes the relay")),
        (TransferMode::Auto, Way::Engine) if seen.limited && hindrance.is_none() => {
            Finding::ok("path.ok", format!("{measured}; auto takes the relay, as only it keeps to max_rate"))
        }
        (TransferMode::Auto, Way::Engine) => match hindrance {
            Some(hindrance) => Finding::ok("path.ok", format!("{measured}; no relay, as {hindrance}")),
            None => Finding::ok("path.ok", format!("{measured}; auto leaves it to the engine")),
        },
    }
}

fn cached(seen: &PathSeen, cache: &str, given: &Result<(), String>) -> Finding {
    let registry = &seen.registry;
    match given {
        Ok(()) => Finding::ok("path.cache", format!("the cache {cache} of {registry} has or fetches {}", seen.image)),
        Err(cause) => Finding::new(
            Level::Warning,
            "path.cache",
            format!("the cache {cache} of {registry} does not give {}: {cause}", seen.image),
        )
        .why("Each server then moves what one would have moved for all")
        .mend(format!(
            "look whether it runs and reaches {registry}; plain HTTP needs {cache} in registry.insecure; deploy/lan-cache/README.md has the rest"
        )),
    }
}

fn mirrored(seen: &PathSeen, mirror: &str, given: &Given) -> Finding {
    let registry = &seen.registry;
    match (given, &seen.origin) {
        (Err(cause), _) => Finding::new(
            Level::Warning,
            "path.mirror",
            format!("the mirror {mirror} of {registry} gives nothing of {}: {cause}", seen.image),
        )
        .why("Each pull tries it again and passes it over; while the registry is away it is of no help")
        .mend(format!(
            "look whether it runs and reaches {registry}; plain HTTP needs {mirror} in registry.insecure; else take it out of [[mirror]]"
        )),
        (Ok(rates), Ok(origin)) if rates.many < origin.many => Finding::new(
            Level::Note,
            "path.slow_mirror",
            format!("the mirror {mirror} is slower than {registry} itself: {}", rates.words()),
        )
        .why("The relay asks it for little; it only helps while the registry is away")
        .mend(format!("nothing, where that is what it is for; else take {mirror} out of [[mirror]]")),
        (Ok(rates), _) => Finding::ok("path.mirror", format!("the mirror {mirror} of {registry}: {}", rates.words())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: f64 = 1e6;

    fn seen(one: f64, many: f64) -> PathSeen {
        PathSeen {
            registry: "ghcr.io".to_owned(),
            image: "ghcr.io/acme/base:1".to_owned(),
            layers: vec![Bytes(300_000_000), Bytes(100_000_000)],
            origin: Ok(Rates { one: one * MB, many: many * MB }),
            mirrors: Vec::new(),
            caches: Vec::new(),
            mode: TransferMode::Auto,
            hindrance: None,
            limited: false,
        }
    }

    fn judged(seen: &PathSeen) -> (&'static str, Level, String) {
        let found = judge(seen).remove(0);
        (found.id, found.level, found.what)
    }

    #[test]
    fn what_auto_would_do_is_said_with_its_numbers() {
        let (id, level, what) = judged(&seen(4.0, 30.0));
        assert_eq!((id, level), ("path.ok", Level::Ok));
        assert!(what.starts_with("ghcr.io: one connection gives 4.00 MB/s, 8 give 30.0 MB/s; all 400 MB"), "{what}");
        assert!(what.ends_with("auto takes the relay"), "{what}");
        assert!(judged(&seen(100.0, 110.0)).2.ends_with("auto leaves it to the engine"));
        let no_relay = PathSeen { hindrance: Some("x"), mode: TransferMode::Relay, ..seen(100.0, 110.0) };
        assert!(judged(&no_relay).2.ends_with("no relay, as x"), "{}", judged(&no_relay).2);
        let limited = PathSeen { limited: true, ..seen(100.0, 110.0) };
        assert!(judged(&limited).2.ends_with("only it keeps to max_rate"), "{}", judged(&limited).2);
        let remote = PathSeen { hindrance: Some("the engine is on another host"), ..seen(4.0, 30.0) };
        assert!(judged(&remote).2.ends_with("no relay, as the engine is on another host"), "{}", judged(&remote).2);
    }

    #[test]
    fn a_way_that_does_not_fit_the_path_is_a_note() {
        for (mode, one, many, id, level) in [
            (TransferMode::Engine, 4.0, 30.0, "path.engine", Level::Note),
            (TransferMode::Engine, 100.0, 110.0, "path.ok", Level::Ok),
            (TransferMode::Relay, 4.0, 30.0, "path.ok", Level::Ok),
            (TransferMode::Relay, 100.0, 110.0, "path.relay", Level::Note),
        ] {
            let (found, is, what) = judged(&PathSeen { mode, ..seen(one, many) });
            assert_eq!((found, is), (id, level), "{what}");
        }
    }

    #[test]
    fn each_mirror_is_told_of_and_one_that_gives_nothing_is_a_warning() {
        let rates = |one: f64, many: f64| Ok(Rates { one: one * MB, many: many * MB });
        let fast = ("fast.lan:5000".to_owned(), rates(100.0, 110.0));
        let slow = ("slow.lan".to_owned(), rates(1.0, 2.0));
        let dead = ("dead.lan".to_owned(), Err("connection refused".to_owned()));
        let all = PathSeen { mirrors: vec![fast, slow, dead], ..seen(4.0, 4.0) };
        let found = judge(&all);
        let ids: Vec<_> = found.iter().map(|found| (found.id, found.level)).collect();
        assert_eq!(
            ids,
            [
                ("path.ok", Level::Ok),
                ("path.mirror", Level::Ok),
                ("path.slow_mirror", Level::Note),
                ("path.mirror", Level::Warning)
            ]
        );
        // the mirror is what makes the relay pay
        assert!(found[0].what.ends_with("auto takes the relay"), "{}", found[0].what);
        let caches = vec![("a.lan:5000".to_owned(), Ok(())), ("b.lan:5000".to_owned(), Err("refused".to_owned()))];
        let found = judge(&PathSeen { caches, ..seen(100.0, 110.0) });
        assert!(found[0].what.ends_with("which asks the cache"), "{}", found[0].what);
        assert_eq!((found[1].id, found[1].level, found[2].level), ("path.cache", Level::Ok, Level::Warning));
        let away = PathSeen { origin: Err("timed out".to_owned()), ..all };
        assert_eq!((judge(&away)[0].id, judge(&away)[0].level), ("path.unmeasured", Level::Warning));
    }
}
