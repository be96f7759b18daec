//! Cron lines and time zones.

use std::str::FromStr;

use chrono_tz::{TZ_VARIANTS, Tz};
use layerkeeper_core::ImageName;
use layerkeeper_keeper::KeepSchedule;

use super::problem::Wrong;
use super::value;

const SIX: &str = "write six fields: second minute hour day-of-month month day-of-week, such as \"0 0 3 * * *\" for three in the morning";

/// A time zone by its IANA name.
pub fn timezone(text: &str) -> Result<Tz, Wrong> {
    text.parse().map_err(|_| {
        let near = TZ_VARIANTS
            .iter()
            .map(|zone| (strsim::jaro_winkler(&text.to_lowercase(), &zone.name().to_lowercase()), zone.name()))
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let right = match near {
            Some((_, name)) => format!("did you mean \"{name}\"?"),
            None => "write its IANA name, such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
        };
        Wrong::new(format!("there is no time zone \"{text}\""), right)
    })
}

/// A cron line that some kept image will follow.
#[derive(Debug, Clone)]
pub struct Line(KeepSchedule);

impl Line {
    /// This line, for this image, read in this zone.
    pub fn of(&self, image: &ImageName, timezone: Tz) -> KeepSchedule {
        KeepSchedule { image: image.clone(), timezone, ..self.0.clone() }
    }
}

/// A cron line of six fields.
pub fn line(text: &str) -> Result<Line, Wrong> {
    match text.split_whitespace().count() {
        6 => {}
        5 => {
            let right = format!("write the seconds first: \"0 {text}\"");
            return Err(Wrong::new(format!("\"{text}\" has five fields, as crontab does; here there are six"), right));
        }
        1 => return Err(Wrong::new(format!("\"{text}\" has one field"), SIX)),
        count => return Err(Wrong::new(format!("\"{text}\" has {count} fields"), SIX)),
    }
    // only the keeper knows the cron library; its own struct lends us the type, and `of` fills in the rest
    let image = value::image("any/any:any")?;
    let made = KeepSchedule { image, cron: read(text)?, text: text.to_owned(), timezone: Tz::UTC };
    // any instant will do: what never comes after this one never comes
    if made.cron.find_next_occurrence(&chrono::DateTime::UNIX_EPOCH, false).is_err() {
        return Err(Wrong::new(format!("\"{text}\" names a time that never comes"), SIX));
    }
    Ok(Line(made))
}

fn read<T>(text: &str) -> Result<T, Wrong>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| {
        let cause = error.to_string();
        let cause = cause.trim_end_matches('.').split_once(": ").map_or(cause.as_str(), |(_, cause)| cause).to_owned();
        let cause = cause.trim_end_matches('.');
        Wrong::new(format!("\"{text}\" is not a cron line ({cause})"), SIX)
    })
}
