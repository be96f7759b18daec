//! `layerkeeper prewarm`

use layerkeeper_http::wire::{AcceptedJobs, JobView, PrewarmBody};

use super::PrewarmArgs;
use super::exit::Exit;
use super::follow::follow;
use super::output::Output;
use super::progress::watcher;
use super::remote::Control;
use super::trouble::Trouble;
use crate::render;

/// Puts kept images into the queue and, where wanted, follows each to its end.
pub async fn prewarm(control: &Control, args: &PrewarmArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let body = PrewarmBody { images: args.images.iter().map(ToString::to_string).collect() };
    let accepted: AcceptedJobs = control.0.post("/v1/prewarm", &body).await?;
    if !args.follow {
        output.facts(&accepted, |accepted, _| match accepted.jobs.len() {
            0 => "No image is kept.\n".to_owned(),
            _ => accepted.jobs.iter().map(|job| format!("{}: job {}\n", job.state, job.id)).collect(),
        })?;
        return Ok(Exit::Done);
    }
    let mut exit = Exit::Done;
    let mut jobs: Vec<JobView> = Vec::new();
    for job in &accepted.jobs {
        let mut watcher = watcher();
        let ended = follow(control, &job.id, watcher.as_mut()).await;
        watcher.leave();
        let ended = ended?;
        exit = exit.worst(ended.exit);
        jobs.push(ended.job);
    }
    output.facts(&jobs, |jobs, width| {
        jobs.iter().map(|job| render::history::job(job, width)).collect::<Vec<_>>().join("\n")
    })?;
    Ok(exit)
}
