//! What a quarter is, and which name it has.

use proptest::prelude::*;

use super::*;

fn quarter(text: &str) -> Quarter {
    text.parse().unwrap()
}

fn template(text: &str) -> Result<Template, TemplateError> {
    text.parse()
}

fn shown(quarters: impl Iterator<Item = Quarter>) -> Vec<String> {
    quarters.map(|quarter| quarter.to_string()).collect()
}

#[test]
fn a_quarter_is_three_months_of_a_year() {
    for (year, month, wanted) in [
        (2026, 1, "2026q1"),
        (2026, 3, "2026q1"),
        (2026, 4, "2026q2"),
        (2026, 9, "2026q3"),
        (2026, 10, "2026q4"),
        (2026, 12, "2026q4"),
        (1970, 1, "2000q1"),
        (-5, 7, "2000q1"),
        (123_456, 7, "2999q4"),
    ] {
        assert_eq!(Quarter::of(year, month).to_string(), wanted, "{year}-{month}");
    }
}

#[test]
fn what_is_no_quarter_is_refused() {
    for bad in
        ["", "2026", "q4", "2026q0", "2026q5", "2026Q4", "26q4", "2026q04", "2026q4 ", "+026q4", "1999q4", "3000q1"]
    {
        assert!(bad.parse::<Quarter>().is_err(), "{bad}");
    }
}

#[test]
fn looked_for_is_what_lies_between_the_one_that_is_here_and_today() {
    let today = quarter("2027q1");
    assert_eq!(shown(candidates(today, Some(quarter("2026q2")))), ["2027q1", "2026q4", "2026q3"]);
    assert_eq!(shown(candidates(today, Some(today))), [""; 0], "nothing can be newer");
    assert_eq!(shown(candidates(today, Some(quarter("2027q2")))), [""; 0], "the clock was set back");
    let first = shown(candidates(today, None));
    assert_eq!((first.len(), &*first[0], &*first[8]), (9, "2027q1", "2025q1"), "today's and eight back");
    assert_eq!(shown(candidates(quarter("2000q2"), None)), ["2000q2", "2000q1"]);
}

#[test]
fn a_template_has_the_quarter_once_and_in_its_tag() {
    let good = template("127.0.0.1:5000/acme/app:cache-{quarter}-amd64").unwrap();
    assert_eq!(good.to_string(), "127.0.0.1:5000/acme/app:cache-{quarter}-amd64");
    assert_eq!(good.name(quarter("2026q4")).to_string(), "127.0.0.1:5000/acme/app:cache-2026q4-amd64");
    assert_eq!(template("app:{quarter}").unwrap().to_string(), "docker.io/library/app:{quarter}");
    for bad in [
        "acme/app:1",
        "acme/{quarter}:1",
        "{quarter}/app:1",
        "acme/app:{quarter}-{quarter}",
        "acme/app:{quarter}@sha256:12",
        "127.0.0.1:{quarter}/app",
    ] {
        assert_eq!(template(bad), Err(TemplateError::Place), "{bad}");
    }
    for bad in ["acme/app:a b{quarter}", "acme/app:-{quarter}", "ghcr.io/Acme/app:{quarter}"] {
        assert!(matches!(template(bad), Err(TemplateError::Reference(_))), "{bad}");
    }
    let long = format!("acme/app:{}{{quarter}}", "x".repeat(123));
    assert!(matches!(template(&long), Err(TemplateError::Reference(ReferenceError::Tag(_)))), "129 characters");
}

#[test]
fn a_name_is_of_a_series_only_in_its_repository_and_with_all_of_its_tag() {
    let template = template("acme/app:c-{quarter}-x").unwrap();
    let of = |text: &str| template.quarter_of(&text.parse().unwrap()).map(|quarter| quarter.to_string());
    assert_eq!(of("acme/app:c-2026q4-x").as_deref(), Some("2026q4"));
    for other in
        ["acme/other:c-2026q4-x", "acme/app:c-2026q4", "acme/app:c-2026q4-x-x", "acme/app:c-2026q5-x", "acme/app:c--x"]
    {
        assert_eq!(of(other), None, "{other}");
    }
}

#[test]
fn the_wanted_one_is_kept_and_the_current_one_until_it_is_here() {
    let (q3, q4, today) = (quarter("2026q3"), quarter("2026q4"), quarter("2027q1"));
    let pin = Digest::of(b"q3");
    let following =
        Series { template: template("acme/app:c-{quarter}").unwrap(), quarter: None, pin: None, expect: Vec::new() };
    let back = Series { quarter: Some(q3), pin: Some(pin), ..following.clone() };
    for (series, wanted, current, kept, settled) in [
        (&following, None, None, &["2027q1"][..], false),
        (&following, Some(q4), None, &["2026q4"], false),
        (&following, Some(q4), Some(q3), &["2026q4", "2026q3"], false),
        (&following, Some(q4), Some(q4), &["2026q4"], false),
        (&following, Some(today), Some(today), &["2027q1"], true),
        (&back, Some(q4), Some(q4), &["2026q3", "2026q4"], false),
        (&back, Some(q4), Some(q3), &["2026q3"], true),
    ] {
        let at = Quarters { wanted, current };
        let names: Vec<Keep> = series.kept(at, today).collect();
        let of = |keep: &Keep| series.template.quarter_of(&keep.image).unwrap();
        assert_eq!(names.iter().map(|keep| of(keep).to_string()).collect::<Vec<_>>(), kept, "{at:?}");
        assert!(
            names.iter().all(|keep| keep.pin == series.pin.filter(|_| of(keep) == q3)),
            "the pin is that quarter's"
        );
        assert_eq!(series.is_settled(at, today), settled, "{at:?}");
    }
}

proptest! {
    /// Every quarter prints and reads back, has its place between its neighbours, and its name is known again.
    #[test]
    fn quarters_and_their_names_read_back(year in 2000i32..3000, month in 1u32..=12, before in "[a-z0-9_][a-z0-9._-]{0,20}", after in "[a-z0-9._-]{0,20}") {
        let quarter = Quarter::of(year, month);
        prop_assert_eq!(quarter.to_string().parse::<Quarter>().unwrap(), quarter);
        prop_assert!(quarter.previous().is_none_or(|previous| previous < quarter));
        let later = if month > 9 { Quarter::of(year + 1, month - 9) } else { Quarter::of(year, month + 3) };
        prop_assert!(later.previous() == Some(quarter) || later == quarter && year == 2999);
        let template: Template = format!("acme/app:{before}{QUARTER}{after}").parse().unwrap();
        prop_assert_eq!(template.quarter_of(&template.name(quarter)), Some(quarter));
        prop_assert_eq!(template.to_string().parse::<Template>().unwrap(), template);
    }

    /// Whatever is looked for is after what is here and not after today, in order and without a gap.
    #[test]
    fn nothing_after_today_is_ever_looked_for(year in 2000i32..2100, month in 1u32..=12, back in prop::option::of(0usize..40)) {
        let today = Quarter::of(year, month);
        let current = back.and_then(|back| today.and_before().nth(back));
        let found: Vec<Quarter> = candidates(today, current).collect();
        prop_assert!(found.iter().all(|quarter| *quarter <= today && Some(*quarter) > current));
        prop_assert!(found.windows(2).all(|pair| pair[0].previous() == Some(pair[1])));
        prop_assert!(found.first().is_none_or(|first| *first == today));
        if let (Some(back), Some(_)) = (back, current) {
            prop_assert_eq!(found.len(), back);
        }
    }

    /// No text makes a template whose names do not fit.
    #[test]
    fn a_template_that_is_taken_makes_only_good_names(text in "[a-zA-Z0-9./:_{}-]{0,20}(\\{quarter\\})?[a-zA-Z0-9./:_{}-]{0,20}") {
        if let Ok(template) = text.parse::<Template>() {
            for quarter in ["2000q1", "2026q4", "2999q4"] {
                let name = template.name(quarter.parse().unwrap());
                prop_assert_eq!(name.to_string().parse::<ImageName>().unwrap(), name);
            }
        }
    }
}
