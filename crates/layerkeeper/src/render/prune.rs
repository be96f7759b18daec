//! A prune, planned or done: what goes, what stays, and why.

use layerkeeper_store::record::PruneRecord;

use super::Width;
use super::amount::{count, short, size};
use super::table::{Align, Table, plain};

/// Every name that was considered, with its reason.
pub fn prune(record: &PruneRecord, width: Width) -> String {
    let planned = record.removals.iter().any(|removal| removal.outcome == "planned");
    let mut text = String::new();
    if let Some(reason) = &record.blocked {
        text.push_str(&format!("Nothing may be removed now: {}\n", plain(reason)));
    }
    if record.removals.is_empty() && record.kept.is_empty() {
        if record.blocked.is_some() {
            return text;
        }
        text.push_str("Prune: no tag that prune_tags matches is here.\n");
        return text;
    }
    if record.removals.is_empty() {
        text.push_str("Prune: nothing goes.\n");
    } else {
        let expected: u64 = record.removals.iter().map(|removal| removal.freed_bytes).sum();
        let names = count(record.removals.len(), "name");
        text.push_str(&if planned {
            format!("Prune: {names} would go, {} would be freed.\n", size(expected))
        } else {
            format!("Prune: {names} considered for removal, {} freed.\n", size(record.freed_bytes))
        });
        text.push_str(&removals(record).render(width));
    }
    if !record.kept.is_empty() {
        text.push_str("Stays:\n");
        text.push_str(&kept(record).render(width));
    }
    text
}

fn removals(record: &PruneRecord) -> Table {
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("IMAGE", Align::Left),
        ("FREES", Align::Right),
        ("OUTCOME", Align::Left),
        ("WHY", Align::Left),
    ]);
    for removal in &record.removals {
        let why = match removal.detail.as_str() {
            "" => removal.reason.clone(),
            detail => format!("{} ({detail})", removal.reason),
        };
        table.row([
            removal.name.clone(),
            short(&removal.image_id).to_owned(),
            size(removal.freed_bytes),
            removal.outcome.clone(),
            why,
        ]);
    }
    table
}

fn kept(record: &PruneRecord) -> Table {
    let mut table =
        Table::new([("NAME", Align::Left), ("IMAGE", Align::Left), ("CLASS", Align::Left), ("WHY", Align::Left)]);
    for kept in &record.kept {
        table.row([kept.name.clone(), short(&kept.image_id).to_owned(), kept.class.clone(), kept.reason.clone()]);
    }
    table
}
