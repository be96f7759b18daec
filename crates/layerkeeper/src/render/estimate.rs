//! What a pull would move: the answer of `layerkeeper plan`.

use std::fmt::Write as _;

use layerkeeper_core::instruction::instruction;
use layerkeeper_keeper::Estimated;
use layerkeeper_store::record::EstimateRecord;

use super::Width;
use super::amount::{count, share, short, size};
use super::table::{Align, Table, plain};
use super::why::{shares, why};
use crate::cli::plan::Against;

/// Layer by layer and in sum.
pub fn estimate(estimated: &Estimated, width: Width) -> String {
    let record = &estimated.estimate;
    let mut text = format!("{}\n", plain(&estimated.image));
    let _ = writeln!(text, "{} for {}", plain(&estimated.digest), plain(&estimated.platform));
    let _ = match &estimated.digest_here {
        _ if estimated.up_to_date => writeln!(text, "This is here already: nothing would move."),
        Some(digest) => writeln!(text, "The name stands for {} here.", plain(digest)),
        None => writeln!(text, "The name is not here."),
    };
    text.push_str(&layers(record).render(width));
    text.push('\n');
    text.push_str(&sums(estimated).render(width));
    for paragraph in [shares(record, width), why(record, width)].into_iter().filter(|text| !text.is_empty()) {
        text.push('\n');
        text.push_str(&paragraph);
    }
    text
}

/// What a build moves to a server that has another one.
pub fn against(facts: &Against, width: Width) -> String {
    let record = &facts.estimate;
    let mut text = format!("{}\n{} for {}\n", plain(&facts.image), plain(&facts.digest), plain(&facts.platform));
    let _ = writeln!(text, "This build moves {} to a server that has", size(record.fetch_bytes_most));
    let _ = writeln!(text, "{}\n{} and nothing else.", plain(&facts.against), plain(&facts.against_digest));
    text.push_str(&layers(record).render(width));
    text.push('\n');
    let words = format!("{} of {}", share(record.here_bytes, record.total_bytes), size(record.total_bytes));
    let mut sums = Table::new([("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    sums.row(["there".to_owned(), size(record.here_bytes), words]);
    let moving = record.layers.iter().filter(|layer| layer.presence == "to fetch").count();
    sums.row(["to fetch".to_owned(), size(record.fetch_bytes_most), count(moving, "layer")]);
    text.push_str(&sums.render(width));
    let why = why(record, width);
    if !why.is_empty() {
        text.push('\n');
        text.push_str(&why);
    }
    text
}

fn layers(record: &EstimateRecord) -> Table {
    let columns = [("LAYER", Align::Left), ("SIZE", Align::Right), ("IS", Align::Left), ("INSTRUCTION", Align::Left)];
    let mut layers = Table::new(columns).cut();
    for layer in &record.layers {
        layers.row([
            short(&layer.digest).to_owned(),
            size(layer.size),
            layer.presence.clone(),
            layer.created_by.as_deref().map(instruction).unwrap_or_default(),
        ]);
    }
    layers
}

fn sums(estimated: &Estimated) -> Table {
    let record = &estimated.estimate;
    let (least, most) = (record.fetch_bytes_least, record.fetch_bytes_most);
    let number = |presence: &str| record.layers.iter().filter(|layer| layer.presence == presence).count();
    let mut table = Table::new([("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let mut line = |what: &str, amount: String, words: String| table.row([what.to_owned(), amount, words]);
    let here = format!("{} of {}", share(record.here_bytes, record.total_bytes), size(record.total_bytes));
    line("here", size(record.here_bytes), here);
    let unknown = number("unknown");
    line(
        "to fetch",
        size(least),
        match unknown {
            0 => count(number("to fetch"), "layer"),
            _ => format!(
                "{} at most: it is not known by which blob the engine knows {}",
                size(most),
                count(unknown, "layer")
            ),
        },
    );
    if let Some(budget) = estimated.budget_bytes {
        let words = match () {
            () if least > budget => format!("this is {} over it", size(least - budget)),
            () if most > budget => "this may be over it".to_owned(),
            () => "this is within it".to_owned(),
        };
        line("budget", size(budget), words);
    }
    if let Some(limit) = estimated.limit_bytes {
        let words = match least > limit {
            true => "a deploy would be refused, unless it says --override budget",
            false => "a deploy may move so much",
        };
        line("limit", size(limit), words.to_owned());
    }
    if let Some(peak) = record.peak_bytes.filter(|_| most > 0) {
        line("disk", size(peak), "at its peak: what moves, and what it becomes unpacked".to_owned());
    }
    table
}
