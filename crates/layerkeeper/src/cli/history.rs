//! `layerkeeper history`

use std::time::{SystemTime, UNIX_EPOCH};

use layerkeeper_http::client::path;
use layerkeeper_http::wire::JobView;

use super::HistoryArgs;
use super::exit::Exit;
use super::output::Output;
use super::remote::Control;
use super::trouble::Trouble;
use crate::render;

/// Shows the newest jobs; of one image, also all that is known of its newest.
pub async fn history(control: &Control, args: &HistoryArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let limit = args.limit.to_string();
    let image = args.image.as_ref().map(ToString::to_string);
    let mut query = vec![("limit", limit.as_str())];
    query.extend(image.as_deref().map(|image| ("image", image)));
    let jobs: Vec<JobView> = control.0.get(&path("/v1/jobs", &query)).await?;
    let newest: Option<JobView> = match jobs.first().filter(|_| image.is_some()) {
        // a list leaves out what is long
        Some(job) => Some(control.0.get(&format!("/v1/jobs/{}", job.id)).await?),
        None => None,
    };
    output.facts(&jobs, |jobs, width| {
        let list = render::history::history(jobs, now(), width);
        match &newest {
            Some(job) => format!("{list}\n{}", render::history::job(job, width)),
            None => list,
        }
    })?;
    Ok(Exit::Done)
}

/// The time, in milliseconds since the epoch.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
