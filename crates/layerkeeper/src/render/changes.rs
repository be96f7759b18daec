//! What names stood for: at one time, or one of them over time.

use layerkeeper_http::wire::ChangeView;

use super::Width;
use super::amount::{instant, relative, short};
use super::table::{Align, Table};

/// Every name that was here at `at`, in milliseconds since the epoch.
pub fn at(names: &[ChangeView], at: i64, width: Width) -> String {
    if names.is_empty() {
        return format!("Nothing is known to have been here at {}.\n", instant(at));
    }
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("DIGEST", Align::Left),
        ("IMAGE", Align::Left),
        ("LAYERS", Align::Right),
        ("SINCE", Align::Left),
    ]);
    for row in names {
        table.row([row.name.clone(), digest(row), image(row), row.layers.len().to_string(), instant(row.at)]);
    }
    format!("Here at {}:\n{}", instant(at), table.render(width))
}

/// What one name stood for, the newest first; below it how it went each time, which may take more than a line.
pub fn of_a_name(changes: &[ChangeView], now: i64, width: Width) -> String {
    let mut table = Table::new([
        ("WHEN", Align::Left),
        ("STOOD FOR", Align::Left),
        ("IMAGE", Align::Left),
        ("LAYERS", Align::Right),
        ("SEEN", Align::Left),
    ]);
    let mut went = Table::new([("", Align::Left), ("", Align::Left)]);
    for row in changes {
        let (stood, layers) = match row.image_id {
            Some(_) => (digest(row), row.layers.len().to_string()),
            None => ("nothing: it was gone".to_owned(), "-".to_owned()),
        };
        let seen = match &row.job {
            Some(job) => format!("in job {}", short(job)),
            None => "outside any job".to_owned(),
        };
        table.row([relative(row.at, now), stood, image(row), layers, seen]);
        if row.image_id.is_none() {
            let how = row.reason.clone().unwrap_or_else(|| "nothing told how".to_owned());
            went.row([relative(row.at, now), how]);
        }
    }
    let mut text = format!("What the name stood for:\n{}", table.render(width));
    if !went.is_empty() {
        text.extend(["How it went:\n", &went.render(width)]);
    }
    text
}

fn digest(row: &ChangeView) -> String {
    row.digest.clone().unwrap_or_else(|| "none: made on this host".to_owned())
}

fn image(row: &ChangeView) -> String {
    row.image_id.as_deref().map_or("-", short).to_owned()
}
