//! `layerkeeper history`

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, TimeZone};
use layerkeeper_http::client::path;
use layerkeeper_http::wire::{ChangeView, JobView};
use serde::Serialize;

use super::HistoryArgs;
use super::due::Due;
use super::exit::Exit;
use super::output::Output;
use super::remote::Control;
use super::trouble::Trouble;
use crate::render;

/// One image over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfImage {
    /// Its newest jobs, the newest first and whole, of the others what a list has.
    pub jobs: Vec<JobView>,
    /// What the name stood for, the newest first.
    pub changes: Vec<ChangeView>,
}

/// Shows the newest jobs; of one image, also all that is known of its newest, and what the name stood for; or what was here
/// at a time.
pub async fn history(control: &Control, args: &HistoryArgs, output: &mut Output) -> Result<Exit, Trouble> {
    if let Some(at) = args.at {
        return names(control, args, at, output).await;
    }
    if let Some(image) = &args.image {
        let history = of_image(control, args, &image.to_string()).await?;
        if args.csv {
            output.raw(render::csv::history(&history.jobs, &history.changes)?.as_bytes())?;
        } else {
            output.facts(&history, |history, width| {
                render::history::of_image(&history.jobs, &history.changes, now(), width)
            })?;
        }
        return Ok(Exit::Done);
    }
    let jobs: Vec<JobView> = control.0.get(&path("/v1/jobs", &[("limit", &args.limit.to_string())])).await?;
    if args.csv {
        // of what a list leaves out, no line is made
        output.raw(render::csv::history(&jobs, &[])?.as_bytes())?;
    } else {
        output.facts(&jobs, |jobs, width| render::history::history(jobs, now(), width))?;
    }
    Ok(Exit::Done)
}

async fn of_image(control: &Control, args: &HistoryArgs, image: &str) -> Result<OfImage, Trouble> {
    let (limit, due) = (args.limit.to_string(), Due::on(&args.root));
    let mut jobs: Vec<JobView> = control.0.get(&path("/v1/jobs", &[("limit", &limit), ("image", image)])).await?;
    if let Some(newest) = jobs.first_mut() {
        *newest = control.0.get(&format!("/v1/jobs/{}", newest.id)).await?;
        due.beside_outcome(&mut newest.outcome);
    }
    let mut changes: Vec<ChangeView> =
        control.0.get(&path("/v1/changes", &[("limit", &limit), ("name", image)])).await?;
    changes.iter_mut().for_each(|change| due.beside_change(change));
    Ok(OfImage { jobs, changes })
}

/// What was here at a time; only the one image where one is named.
async fn names(control: &Control, args: &HistoryArgs, at: i64, output: &mut Output) -> Result<Exit, Trouble> {
    let mut names: Vec<ChangeView> = control.0.get(&path("/v1/names", &[("at", &at.to_string())])).await?;
    if let Some(image) = &args.image {
        names.retain(|row| row.name == image.to_string());
    }
    if args.csv {
        output.raw(render::csv::names(&names)?.as_bytes())?;
    } else {
        output.facts(&names, |names, width| render::changes::at(names, at, width))?;
    }
    Ok(Exit::Done)
}

/// The time, in milliseconds since the epoch.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// An instant as people write it, in milliseconds since the epoch. A day is meant to its end.
pub fn instant(text: &str) -> Result<i64, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.timestamp_millis());
    }
    let local = |at: NaiveDateTime| Local.from_local_datetime(&at).latest().map(|at| at.timestamp_millis());
    let minute = |format| NaiveDateTime::parse_from_str(text, format).ok().and_then(local);
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.succ_opt()?.and_hms_opt(0, 0, 0).and_then(local);
    let found = minute("%Y-%m-%d %H:%M").or_else(|| minute("%Y-%m-%d %H:%M:%S")).or_else(|| day().map(|end| end - 1));
    found.ok_or_else(|| "write 2026-11-24, \"2026-11-24 03:00\", or RFC 3339: 2026-11-24T03:00:00+08:00".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_a_minute_and_rfc_3339_are_instants() {
        assert_eq!(instant("2026-11-24T03:00:00+08:00"), Ok(1_795_460_400_000));
        let minute = instant("2026-11-24 03:00").unwrap();
        assert_eq!(instant("2026-11-24 03:00:30"), Ok(minute + 30_000));
        assert_eq!(instant("2026-11-24"), Ok(minute + 21 * 3_600_000 - 1), "to its end");
        for wrong in ["tuesday", "24.11.2026", "2026-13-01", ""] {
            assert!(instant(wrong).unwrap_err().starts_with("write 2026-11-24"), "{wrong}");
        }
    }
}
