//! What people read, page by page, as golden files; and the same facts as JSON.

mod render {
    //! The facts that are shown.
    pub mod doctor;
    pub mod expected;
    mod kept;
    pub mod sample;
    pub mod servers;
    pub mod state;
}

use layerkeeper::render::{
    Width, changes, csv, doctor, estimate, history, markdown, prune, public, report, servers, state, status,
};
use layerkeeper_http::wire::{ChangeView, JobView};
use layerkeeper_store::record::PullRecord;
use render::{expected, sample};
use serde::Serialize;

const TERMINAL: Width = Width::Columns(100);

fn json(facts: &impl Serialize) -> String {
    serde_json::to_string_pretty(facts).unwrap_or_else(|error| error.to_string())
}

#[test]
fn a_deploy_that_moved_one_layer() {
    let outcome = sample::deploy();
    insta::assert_snapshot!("deploy", report::outcome(&outcome, TERMINAL));
    insta::assert_snapshot!("deploy_unbounded", report::outcome(&outcome, Width::Unbounded));
    insta::assert_snapshot!("deploy_json", json(&outcome));
}

#[test]
fn a_deploy_with_a_cut_attempt_doubts_and_too_many_bytes() {
    insta::assert_snapshot!("deploy_doubted", report::outcome(&sample::doubted(), Width::Unbounded));
}

#[test]
fn by_how_much_an_estimate_was_wrong_is_told_with_its_side_and_nothing_where_it_was_right() {
    let said = |error: Option<i64>| {
        let pull = sample::deploy().pull.map(|pull| PullRecord { estimate_error_bytes: error, ..pull });
        pull.map(|pull| report::pull(&pull, Width::Unbounded)).unwrap_or_default()
    };
    assert!(said(Some(104_000_000)).contains("  104 MB  more than expected\n"), "{}", said(Some(104_000_000)));
    assert!(said(Some(-2_100_000)).contains("  2.10 MB  less than expected\n"), "{}", said(Some(-2_100_000)));
    for right in [Some(0), None] {
        assert!(!said(right).contains("than expected"), "{}", said(right));
    }
}

#[test]
fn a_deploy_that_failed() {
    insta::assert_snapshot!("deploy_failed", report::outcome(&sample::failed(), TERMINAL));
}

#[test]
fn a_prune_planned_and_done_and_blocked() {
    insta::assert_snapshot!("prune_planned", prune::prune(&sample::prune("planned"), Width::Unbounded));
    insta::assert_snapshot!("prune_done", prune::prune(&sample::prune("removed"), TERMINAL));
    insta::assert_snapshot!("prune_blocked", prune::prune(&sample::blocked(), TERMINAL));
    insta::assert_snapshot!("prune_json", json(&sample::prune("planned")));
}

#[test]
fn an_estimate_certain_and_uncertain() {
    insta::assert_snapshot!("plan", estimate::estimate(&expected::estimated(), TERMINAL));
    insta::assert_snapshot!("plan_unknown", estimate::estimate(&expected::estimated_with_unknowns(), TERMINAL));
    insta::assert_snapshot!("plan_json", json(&expected::estimated()));
}

#[test]
fn the_status_of_a_host_where_all_is_well_and_where_it_is_not() {
    insta::assert_snapshot!("status", status::status(&sample::status(), TERMINAL));
    insta::assert_snapshot!("status_in_trouble", status::status(&sample::trouble(), Width::Unbounded));
    insta::assert_snapshot!("status_json", json(&sample::status()));
}

#[test]
fn the_jobs_of_a_day_and_one_of_them() {
    let jobs = sample::jobs();
    insta::assert_snapshot!("history", history::history(&jobs, sample::NOW, Width::Unbounded));
    insta::assert_snapshot!("history_none", history::history(&[], sample::NOW, TERMINAL));
    insta::assert_snapshot!("history_json", json(&jobs));
    insta::assert_snapshot!("job", history::job(&jobs[1], TERMINAL));
    insta::assert_snapshot!("job_superseded", history::job(&jobs[2], TERMINAL));
}

#[test]
fn a_state_that_is_whole_and_one_that_is_damaged() {
    insta::assert_snapshot!("state", state::state(&render::state::whole(), sample::NOW, TERMINAL));
    insta::assert_snapshot!("state_damaged", state::state(&render::state::damaged(), sample::NOW, Width::Unbounded));
    insta::assert_snapshot!("state_json", json(&render::state::damaged()));
}

#[test]
fn a_host_where_all_is_well_and_one_where_much_is_wrong() {
    let (good, bad) =
        (layerkeeper::doctor::judge(&render::doctor::good()), layerkeeper::doctor::judge(&render::doctor::bad()));
    insta::assert_snapshot!("doctor", doctor::doctor(&good, TERMINAL));
    insta::assert_snapshot!("doctor_in_trouble", doctor::doctor(&bad, TERMINAL));
    insta::assert_snapshot!("doctor_unbounded", doctor::doctor(&bad, Width::Unbounded));
    insta::assert_snapshot!("doctor_json", json(&bad));
}

#[test]
fn a_job_as_its_sender_sees_it() {
    insta::assert_snapshot!("public", public::job(&sample::public_job(), TERMINAL));
}

#[test]
fn a_deploy_as_a_step_of_github_actions_shows_it() {
    let shipped = sample::public_shipped();
    insta::assert_snapshot!("markdown", markdown::summary(&shipped));
    insta::assert_snapshot!("markdown_failed", markdown::summary(&sample::public_job()));
    assert_eq!(
        markdown::outputs(&shipped),
        "bytes_downloaded=216100000\nbytes_reused=6610000000\nreuse_ratio=0.9683\n"
    );
    let nothing = layerkeeper_http::wire::PublicJob { report: None, ..shipped };
    assert_eq!(markdown::outputs(&nothing), "bytes_downloaded=0\nbytes_reused=0\nreuse_ratio=1.0000\n");
}

#[test]
fn a_deploy_to_many_servers_has_a_row_for_each_and_the_sums() {
    let told = render::servers::servers();
    insta::assert_snapshot!("servers", servers::text(&told, Width::Unbounded));
    insta::assert_snapshot!("servers_json", json(&told[2..].to_vec()));
    insta::assert_snapshot!("servers_markdown", servers::summary("ghcr.io/acme/app:sha-2", &told));
    assert_eq!(
        servers::outputs(&told),
        "bytes_downloaded=216100000\nbytes_reused=6610000000\nreuse_ratio=0.9683\nservers=4\nservers_done=2\n"
    );
    assert!(servers::summary("a:1", &told[..1]).starts_with("### ✅ `a:1`: 1 of 1 servers\n"));
}

#[test]
fn two_builds_compared() {
    insta::assert_snapshot!("plan_against", estimate::against(&expected::against(), TERMINAL));
}

#[test]
fn what_names_stood_for_then_and_since() {
    let names = sample::changes();
    insta::assert_snapshot!("names_at", changes::at(&names[..2], sample::NOW, TERMINAL));
    insta::assert_snapshot!("name_over_time", changes::of_a_name(&names, sample::NOW, TERMINAL));
    insta::assert_snapshot!("names_csv", csv::names(&names[..2]).unwrap_or_default());
    let untold = ChangeView { reason: None, ..names[2].clone() };
    let told = changes::of_a_name(&[untold], sample::NOW, TERMINAL);
    assert!(told.ends_with("How it went:\n  1d 2h ago  nothing told how\n"), "{told}");
    assert!(changes::at(&[], sample::NOW, TERMINAL).starts_with("Nothing is known to have been here at 20"));
}

#[test]
fn one_image_over_time_is_its_jobs_the_newest_whole_and_what_the_name_stood_for() {
    let (jobs, names) = (sample::jobs(), sample::changes());
    let all = history::of_image(&jobs[1..], &names, sample::NOW, Width::Unbounded);
    let parts = [
        history::history(&jobs[1..], sample::NOW, Width::Unbounded),
        history::job(&jobs[1], Width::Unbounded),
        changes::of_a_name(&names, sample::NOW, Width::Unbounded),
    ];
    assert_eq!(all, parts.join("\n"));
    assert_eq!(history::of_image(&[], &[], sample::NOW, TERMINAL), "No job yet.\n");
}

#[test]
fn history_for_a_spreadsheet() {
    let whole = csv::history(&sample::jobs(), &sample::changes()).unwrap_or_default();
    let brief: Vec<_> = sample::jobs().into_iter().map(JobView::brief).collect();
    let of_list = csv::history(&brief, &sample::changes()).unwrap_or_default();
    assert_eq!(of_list, whole, "a list of jobs has all that a line needs");
    insta::assert_snapshot!("history_csv", whole);
}
