//! Table by table: what comes true when, and how it is said.

use chrono::NaiveDate;

use super::*;

/// 27 November 2026 is a Friday.
fn at(day: u32, hour: u32, minute: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, 11, day).unwrap().and_hms_opt(hour, minute, 40).unwrap()
}

#[test]
fn five_fields_come_true_as_crontab_5_says() {
    for (text, when, wanted) in [
        ("0 3 * * *", at(27, 3, 0), true),
        ("0 3 * * *", at(27, 3, 1), false),
        ("*/15 * * * *", at(27, 9, 45), true),
        ("*/15 * * * *", at(27, 9, 46), false),
        ("0 3 * * fri", at(27, 3, 0), true),
        ("0 3 * * 1-4", at(27, 3, 0), false),
        ("0 3 * * 0", at(29, 3, 0), true),
        ("0 3 * * 7", at(29, 3, 0), true),
        ("0 3 * * 5-7", at(29, 3, 0), true),
        ("0 3 * nov *", at(1, 3, 0), true),
        ("0 3 * 1-10 *", at(1, 3, 0), false),
        // day and weekday: one is enough
        ("0 3 1 * fri", at(27, 3, 0), true),
        ("0 3 1 * fri", at(1, 3, 0), true),
        ("0 3 1 * fri", at(2, 3, 0), false),
        ("0 3 */2 * fri", at(27, 3, 0), true),
        ("0 3 */2 * fri", at(20, 3, 0), false),
        ("5,10-12 1,2 * * *", at(3, 2, 11), true),
        ("5,10-12 1,2 * * *", at(3, 2, 13), false),
        ("@daily", at(3, 0, 0), true),
        ("@weekly", at(29, 0, 0), true),
        ("@weekly", at(28, 0, 0), false),
        ("@monthly", at(1, 0, 0), true),
        ("@hourly", at(3, 17, 0), true),
    ] {
        assert_eq!(Times::cron(text).unwrap().matches(when), wanted, "{text} at {when}");
    }
    for text in [
        "",
        "@reboot",
        "60 * * * *",
        "* * * *",
        "* * * * * *",
        "a * * * *",
        "*/0 * * * *",
        "5-x * * * *",
        "0 22-2 * * *",
    ] {
        assert_eq!(Times::cron(text), None, "{text}");
    }
}

#[test]
fn calendar_expressions_of_the_usual_forms_come_true() {
    for (text, when, wanted) in [
        ("daily", at(27, 0, 0), true),
        ("daily", at(27, 1, 0), false),
        ("weekly", at(23, 0, 0), true),
        ("weekly", at(29, 0, 0), false),
        ("monthly", at(1, 0, 0), true),
        ("*-*-* 03:00:00", at(27, 3, 0), true),
        ("*-*-* 3:00", at(27, 3, 1), false),
        ("04:30", at(27, 4, 30), true),
        ("Fri 04:30", at(27, 4, 30), true),
        ("Mon..Thu 04:30", at(27, 4, 30), false),
        ("Sunday,Friday 04:30", at(27, 4, 30), true),
        ("*:0/15", at(27, 9, 45), true),
        ("*-11-27 03:00", at(27, 3, 0), true),
        ("11-26 03:00", at(27, 3, 0), false),
        ("Fri", at(27, 0, 0), true),
    ] {
        let times = Times::calendar(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(times.matches(when), wanted, "{text} at {when}");
    }
    for text in ["2026-11-27 03:00", "03:00 Europe/Berlin", "*-*~1 03:00", "someday", "25:00", "Fri..Mon,Wed 04:30"] {
        assert_eq!(Times::calendar(text), None, "{text}");
    }
}

#[test]
fn a_delay_at_random_makes_the_minutes_after_it_possible() {
    let times = Times::calendar("daily").unwrap().delayed(30);
    assert!(times.matches(at(27, 0, 30)) && !times.matches(at(27, 0, 31)) && !times.matches(at(26, 23, 59)));
}

#[test]
fn times_are_told_in_words_where_that_is_shorter() {
    for (text, words) in [
        ("0 3 * * *", Some("every day at 03:00")),
        ("30 4 * * sun", Some("every Sunday at 04:30")),
        ("30 4 * * 1-5", Some("Monday to Friday at 04:30")),
        ("30 4 * * 1,3", Some("every Monday, Wednesday at 04:30")),
        ("0 1,13 * * *", Some("every day at 01:00, 13:00")),
        ("17 * * * *", Some("every hour at minute 17")),
        ("*/5 * * * *", Some("every 5 minutes")),
        ("* * * * *", Some("every minute")),
        ("0 */2 * * *", Some("every 2 hours")),
        ("0 0 1 * *", Some("on day 1 of every month at 00:00")),
        ("0 0 1 1 *", None),
        ("1,2,7 4-9 * * *", None),
        ("0 3 1 * fri", None),
    ] {
        assert_eq!(Times::cron(text).unwrap().words().as_deref(), words, "{text}");
    }
    assert_eq!(
        Times::cron("@daily").unwrap().delayed(60).words().as_deref(),
        Some("every day at 00:00, up to 60 minutes later")
    );
}
