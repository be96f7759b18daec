//! What the doctor found.

use super::Width;
use super::amount::count;
use super::table::{Align, Table};
use crate::doctor::{Diagnosis, Finding, Level};

/// Areas in the order in which they are looked at, as their ids name them, with their heads.
const AREAS: [(&str, &str); 10] = [
    ("engine", "Engine"),
    ("daemon", "Daemon"),
    ("disk", "Disk"),
    ("registry", "Registries"),
    ("clock", "Clock"),
    ("path", "Paths"),
    ("kept", "Kept images"),
    ("cleaner", "Who else removes images"),
    ("host", "Host"),
    ("unit", "Service"),
];

/// By area; what is as it should be in one line, all else with why it matters and what mends it. The sum comes last, where
/// the eye is.
pub fn doctor(diagnosis: &Diagnosis, width: Width) -> String {
    let sections = AREAS.iter().filter_map(|(area, head)| {
        let found: Vec<&Finding> = diagnosis.findings.iter().filter(|finding| finding.area() == *area).collect();
        (!found.is_empty()).then(|| section(head, &found, width))
    });
    let mut text: String = sections.collect::<Vec<_>>().join("\n");
    text.push('\n');
    text.push_str(&sum(diagnosis));
    text
}

fn section(head: &str, found: &[&Finding], width: Width) -> String {
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    for finding in found {
        table.row([word(finding.level), finding.what.clone()]);
        for (lead, text) in [("why", &finding.why), ("mend", &finding.mend)] {
            if !text.is_empty() {
                table.row([String::new(), format!("{lead}: {text}")]);
            }
        }
    }
    format!("{head}\n{}", table.render(width))
}

/// What needs somebody is in capitals.
fn word(level: Level) -> String {
    match level {
        Level::Ok | Level::Note => level.as_str().to_owned(),
        Level::Warning | Level::Problem => level.as_str().to_uppercase(),
    }
}

fn sum(diagnosis: &Diagnosis) -> String {
    let of = |number, noun| (number > 0).then(|| count(number, noun));
    let counts = [of(diagnosis.problems, "problem"), of(diagnosis.warnings, "warning"), of(diagnosis.notes, "note")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    if counts.is_empty() { "All is well.\n".to_owned() } else { format!("{}.\n", counts.join(", ")) }
}
