//! What was wanted of a transfer, and what came of it.

use anyhow::{Context, Result};

use super::hashing;
use super::host::{Case, Ours, Pull};
use super::images::Kind;
use super::link::Link;
use crate::bench::report::Section;
use crate::bench::samples::Samples;

/// Where a connection gives 4 MB/s, a cold image comes so many times faster.
const FASTER: f64 = 3.0;
/// And takes no longer than so many times a plain pull without any limit.
const OVER_OPEN: f64 = 1.25;
/// Where a connection gives 1 MB/s, one layer comes so many times faster.
const HUGE_FASTER: f64 = 8.0;
/// Where nothing is to be won, no more is lost.
const NEVER_SLOWER: f64 = 1.03;
const NEVER_MORE: f64 = 1.01;
const PROCESSOR_PER_GB: f64 = 1.2;
const PEAK_MIB: f64 = 64.0;
/// As many as the relay ever uses; its cost is judged there.
const CONNECTIONS: u64 = 16;

pub const HEAD: [&str; 9] = [
    "link",
    "image",
    "rounds",
    "`docker pull`, s",
    "layerkeeper, s",
    "times faster",
    "round by round",
    "bytes over `docker pull`'s",
    "its way",
];

pub const COST_HEAD: [&str; 6] =
    ["link", "image", "connections", "processor, s", "processor, s per GB", "peak memory, MiB"];

impl Case {
    fn is(&self, kind: Kind, per_connection: Option<u64>) -> bool {
        let near = self.link.round_trip == 0 && self.link.in_all.is_none();
        self.kind == kind && near && self.link.per_connection == per_connection
    }

    fn of(&self, value: impl Fn(&Pull, &Ours) -> f64) -> Result<Samples> {
        Samples::new(self.rounds.iter().map(|(plain, ours)| value(plain, ours))).context("nothing was measured")
    }

    fn plain(&self) -> Result<Samples> {
        self.of(|plain, _| plain.seconds)
    }

    fn ours(&self) -> Result<Samples> {
        self.of(|_, ours| ours.pull.seconds)
    }

    /// How many times faster, by the medians.
    fn faster(&self) -> Result<f64> {
        Ok(self.plain()?.median() / self.ours()?.median())
    }

    fn more_bytes(&self) -> Result<Samples> {
        self.of(|plain, ours| ours.pull.bytes as f64 / plain.bytes as f64)
    }

    /// The same in the worst round, and by the pull that learnt the link, what measuring it took included.
    fn most_bytes(&self) -> Result<f64> {
        let plain = self.of(|plain, _| plain.bytes as f64)?.median();
        let learning = self.learnt_by.map_or(0.0, |bytes| bytes as f64 / plain);
        Ok(self.more_bytes()?.most().max(learning))
    }

    fn per_gb(&self) -> Result<Samples> {
        self.of(|_, ours| ours.processor * 1e9 / self.missing as f64)
    }

    /// The rounds in which the relay had a part.
    fn relayed(&self) -> usize {
        self.rounds.iter().filter(|(_, ours)| ours.way == "relay").count()
    }

    /// None where all was here too soon to tell how many are worth it.
    fn most_connections(&self) -> Option<u64> {
        self.rounds.iter().filter_map(|(_, ours)| ours.connections.filter(|connections| *connections > 0)).max()
    }

    /// A row of the first table.
    pub fn row(&self) -> Result<Vec<String>> {
        let relayed = self.relayed();
        let mut way = match self.rounds.len() - relayed {
            0 => "relay".to_owned(),
            all if relayed == 0 && all > 0 => "engine".to_owned(),
            engine => format!("relay {relayed} ×, engine {engine} ×"),
        };
        let fell = self.rounds.iter().filter(|(_, ours)| ours.fell_back.is_some()).count();
        if fell > 0 {
            way += &format!(", fell back {fell} ×");
        }
        Ok(vec![
            self.link.named(),
            self.image.clone(),
            self.rounds.len().to_string(),
            self.plain()?.shown(2),
            self.ours()?.shown(2),
            format!("{:.2}", self.faster()?),
            self.of(|plain, ours| plain.seconds / ours.pull.seconds)?.shown(2),
            self.more_bytes()?.shown(4),
            way,
        ])
    }

    /// A row of the second table, where the relay had a part.
    pub fn cost(&self) -> Result<Option<Vec<String>>> {
        if self.relayed() == 0 {
            return Ok(None);
        }
        Ok(Some(vec![
            self.link.named(),
            self.image.clone(),
            self.most_connections().map_or_else(|| "–".to_owned(), |connections| connections.to_string()),
            self.of(|_, ours| ours.processor)?.shown(2),
            self.per_gb()?.shown(2),
            self.of(|_, ours| ours.peak_mib)?.shown(1),
        ]))
    }
}

/// Holds what was measured to what was wanted.
pub fn judge(section: &mut Section, engine: &str, cases: &[Case]) -> Result<()> {
    let on = |what: &str| format!("{what}, engine {engine}");
    let find = |kind, rate| cases.iter().find(|case| case.is(kind, rate));
    if let Some(slow) = find(Kind::Cold, Some(4)) {
        let what = on("cold image at 4 MB/s per connection: faster than `docker pull`");
        section.target_least(&what, slow.faster()?, FASTER, " ×", 2);
        if let Some(open) = find(Kind::Cold, None) {
            let ratio = slow.ours()?.median() / open.plain()?.median();
            let what = on("the same: time over `docker pull` without any limit");
            section.target(&what, ratio, OVER_OPEN, " ×", 2);
        }
    }
    if let Some(slow) = find(Kind::Huge, Some(1)) {
        let what = on(&format!("{} at 1 MB/s per connection: faster than `docker pull`", slow.image));
        section.target_least(&what, slow.faster()?, HUGE_FASTER, " ×", 2);
    }
    for case in cases.iter().filter(|case| case.link.is_filled()) {
        let what = on(&format!("{}, {}: time over `docker pull`", case.link.named(), case.image));
        section.target(&what, 1.0 / case.faster()?, NEVER_SLOWER, " ×", 3);
    }
    if let Some((bytes, case)) = most(cases, Case::most_bytes)? {
        let at = format!("in any round and in the first pull over a link ({}, {})", case.link.named(), case.image);
        let what = on(&format!("bytes over `docker pull`'s, the most {at}"));
        section.target(&what, bytes, NEVER_MORE, " ×", 4);
    }
    judge_cost(section, &on, cases)
}

fn judge_cost(section: &mut Section, on: &dyn Fn(&str) -> String, cases: &[Case]) -> Result<()> {
    // a small layer is mostly the job around it
    let large = |case: &&Case| case.kind != Kind::Next && case.relayed() > 0;
    let full = cases.iter().filter(large).filter(|case| case.most_connections() >= Some(CONNECTIONS));
    let full: Vec<&Case> = full.collect();
    if let Some((processor, case)) = most(full.iter().copied(), |case| Ok(case.per_gb()?.median()))? {
        let at = format!("at {CONNECTIONS} connections, the most ({}, {})", case.link.named(), case.image);
        let what = on(&format!("the daemon's processor time per GB, {at}"));
        section.target(&what, processor, PROCESSOR_PER_GB, " s", 2);
    }
    let peak = |case: &Case| Ok(case.of(|_, ours| ours.peak_mib)?.most());
    if let Some((peak, case)) = most(full.iter().copied(), peak)? {
        let what = on(&format!("the daemon's peak memory there, the most ({}, {})", case.link.named(), case.image));
        section.target(&what, peak, PEAK_MIB, " MiB", 1);
    }
    if full.is_empty() {
        section
            .text(format!("{}: no pull used {CONNECTIONS} connections, so its cost there is not judged.", on("Cost")));
    }
    Ok(())
}

fn most<'c>(
    cases: impl IntoIterator<Item = &'c Case>,
    value: impl Fn(&Case) -> Result<f64>,
) -> Result<Option<(f64, &'c Case)>> {
    let values = cases.into_iter().map(|case| Ok((value(case)?, case))).collect::<Result<Vec<_>>>()?;
    Ok(values.into_iter().max_by(|(one, _), (other, _)| one.total_cmp(other)))
}

/// What hashing alone costs here.
pub fn hashing() -> Result<String> {
    let seconds = hashing::seconds_per_gb().context("nothing was hashed")?;
    let has = if hashing::has_instructions() { "has" } else { "has no" };
    Ok(format!(
        "Each byte is hashed before it is handed on. Of the processor time that is, on this processor ({has} instructions for \
         SHA-256, by its flags) and by the same library (ring), {} s per GB.",
        seconds.shown(2)
    ))
}

/// Is this one of those that take most of an hour?
pub fn is_long(link: Link, kind: Kind) -> bool {
    kind == Kind::Huge && link.per_connection == Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(link: Link, kind: Kind, plain: f64, ours: f64, connections: u64) -> Case {
        let pull = |seconds| Pull { seconds, bytes: 1_000_000_000 };
        let ours = Ours {
            pull: pull(ours),
            processor: 1.0,
            peak_mib: 50.0,
            way: "relay".to_owned(),
            connections: Some(connections),
            fell_back: None,
            reason: String::new(),
        };
        let rounds = vec![(pull(plain), ours)];
        Case { link, kind, missing: 1_000_000_000, image: "an image".to_owned(), rounds, learnt_by: None }
    }

    #[test]
    fn what_is_too_slow_is_missed_and_what_is_fast_enough_is_met() {
        let open = Link { per_connection: None, in_all: None, round_trip: 0 };
        let slow = |rate| Link { per_connection: Some(rate), ..open };
        let judged = |cases: &[Case]| {
            let mut section = Section::new("Transfer");
            judge(&mut section, "A", cases).unwrap();
            section
        };
        let good = [
            case(open, Kind::Cold, 10.0, 10.2, 4),
            case(slow(4), Kind::Cold, 36.0, 12.0, 16),
            case(slow(1), Kind::Huge, 90.0, 10.0, 16),
        ];
        let section = judged(&good);
        assert_eq!(
            (section.missed.len(), section.markdown().matches("| met").count()),
            (0, 7),
            "{}",
            section.markdown()
        );
        let bad = [
            case(open, Kind::Cold, 10.0, 10.4, 4),
            case(slow(4), Kind::Cold, 35.0, 12.6, 16),
            case(slow(1), Kind::Huge, 79.0, 10.0, 16),
        ];
        assert_eq!(judged(&bad).missed.len(), 4);
        // what measuring the link took counts, too
        let first = |bytes| [Case { learnt_by: Some(bytes), ..case(slow(4), Kind::Cold, 36.0, 12.0, 6) }];
        assert_eq!(judged(&first(1_008_000_000)).missed.len(), 0);
        assert_eq!(judged(&first(1_012_000_000)).missed.len(), 1);
    }

    #[test]
    fn the_cost_is_judged_only_where_all_connections_were_used() {
        let link = Link { per_connection: Some(16), in_all: None, round_trip: 0 };
        let mut section = Section::new("Transfer");
        judge(&mut section, "A", &[case(link, Kind::Cold, 10.0, 5.0, 6)]).unwrap();
        assert!(section.markdown().contains("its cost there is not judged"), "{}", section.markdown());
    }
}
