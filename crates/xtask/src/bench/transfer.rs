//! `docker pull` beside a daemon that may fetch through its relay, over links as they are: each connection limited, all of
//! them together, and a long way.

mod front;
mod hashing;
mod host;
mod images;
mod judge;
mod link;

use anyhow::{Result, ensure};
use layerkeeper_testkit::{Auth, Engine, EngineKind, EngineOptions, Registry};

use super::machine::Patience;
use super::report::Section;
use super::title;
use host::Host;
use images::{Images, Kind};
use link::Link;

/// Whoever wants fewer is in a hurry, and a link where one `docker pull` takes a quarter of an hour is left out of the targets.
const ENOUGH_ROUNDS: usize = 5;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every link and image: hours.
    All,
    /// What the targets are of; where one `docker pull` takes a quarter of an hour, once.
    Targets,
    /// Small images over a few links, once each, for a look: judges nothing.
    Quick,
}

impl Extent {
    /// Where one `docker pull` takes a quarter of an hour, there are no more rounds.
    fn long_rounds(self) -> usize {
        if self == Self::All { usize::MAX } else { 1 }
    }
}

/// What is to be measured, and how the daemon is to pull.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// How much.
    pub extent: Extent,
    /// Its `transfer`.
    pub mode: &'static str,
    /// Only links whose name has this in it.
    pub only: Option<&'a str>,
}

/// Measures on each of these engines; a quick look is at small images over a few links, and judges nothing.
pub fn measure(engines: &[EngineKind], rounds: usize, wish: Wish, patience: Patience) -> Result<Section> {
    let Wish { extent, mode, only } = wish;
    let quick = extent == Extent::Quick;
    let registry = Registry::start(Auth::Open)?;
    let images = Images::push(&registry, quick)?;
    let mut links = match extent {
        Extent::All => Link::all(),
        Extent::Targets => Link::targets(rounds >= ENOUGH_ROUNDS),
        Extent::Quick => Link::few(),
    };
    links.retain(|(link, _)| only.is_none_or(|only| link.named().contains(only)));
    ensure!(!links.is_empty(), "there is no link {}; there are {}", only.unwrap_or_default(), Link::names());
    let rounds = if quick { 1 } else { rounds };
    let mut section = Section::new(&only.map_or("Transfer".to_owned(), |only| format!("Transfer, {only}")));
    let mut tables = Vec::new();
    for &kind in engines {
        let insecure = vec!["--insecure-registry=198.18.0.0/15".to_owned()];
        let engine = Engine::with(kind, &EngineOptions { args: insecure, ..EngineOptions::default() })?;
        let name = title(&engine)?;
        eprintln!("bench: transfer on {name}");
        let mut cases = Vec::new();
        for (link, kinds) in &links {
            let host = Host::start((*link, mode), &engine, &registry, &images, patience)?;
            for &kind in kinds {
                let rounds = if judge::is_long(*link, kind) { rounds.min(extent.long_rounds()) } else { rounds };
                cases.push(host.case(kind, rounds)?);
            }
        }
        if !quick {
            judge::judge(&mut section, &name, &cases)?;
        }
        tables.push((name, cases));
    }
    section.text(told(&images, wish));
    for (name, cases) in &tables {
        section.text(format!("Engine {name}:"));
        section.table(&judge::HEAD, &cases.iter().map(host::Case::row).collect::<Result<Vec<_>>>()?);
        let costs = cases.iter().map(host::Case::cost).collect::<Result<Vec<_>>>()?;
        section.text("The daemon's own processor time and peak of memory (VmHWM) where the relay had a part:");
        section.table(&judge::COST_HEAD, &costs.into_iter().flatten().collect::<Vec<_>>());
    }
    section.text(judge::hashing()?);
    Ok(section)
}

fn told(images: &Images, Wish { extent, mode, only }: Wish) -> String {
    let unpacked = "two thirds of it text that compresses well, the rest incompressible";
    let mut text = format!(
        "`docker pull` and `layerkeeper deploy REF --follow` in turn, from the start of the command to its end, which of the two \
         goes first alternating, the image removed and the disk synced in between. `transfer = \"{mode}\"`; a new daemon for each \
         link learns it by one pull, of which only the bytes count. The images: {}, files of which {unpacked}, gzip as Docker packs; {}, on \
         a host that has the version before; {} of incompressible content. Before the registry stands nginx, whose access log \
         tells the bytes, heads and all; blobs it gives by itself from the registry's files. A limit per connection is nginx's `limit_rate`, and the same rate once more by a TCP \
         proxy before it: nginx lets the first of each answer go at once, as much as its buffers hold (at 1 MB/s, 512 KB came \
         in 0.02 s), which would make a gift to whoever asks for pieces. A limit in all is a `tbf` queue of a network namespace \
         in which nginx stands. A round trip is added by that proxy, half of it each way, and once more for a new connection; \
         it holds up no throughput, and TCP's slow start is not made. Without limit and round trip there is no proxy.",
        images.named(Kind::Cold),
        images.named(Kind::Next),
        images.named(Kind::Huge),
    );
    if extent == Extent::Targets {
        text += " **Only what the targets are of.**";
    }
    if let Some(only) = only {
        text += &format!(" **Only links with \"{only}\" in their names.**");
    }
    if extent == Extent::Quick {
        text += " **A quick look at small images, one round each: nothing is judged.**";
    }
    text
}
