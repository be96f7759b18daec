//! `layerkeeper deploy`

use layerkeeper_http::wire::{Accepted, DeployBody};

use super::DeployArgs;
use super::exit::Exit;
use super::follow::follow;
use super::output::Output;
use super::progress::watcher;
use super::remote::Control;
use super::trouble::Trouble;
use crate::render;

/// Puts a deploy into the queue and, where wanted, follows it to its end.
pub async fn deploy(control: &Control, args: &DeployArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let body = DeployBody {
        image: args.image.to_string(),
        digest: args.digest.map(|digest| digest.to_string()),
        overrides: args.overrides.clone(),
    };
    let accepted: Accepted = control.0.post("/v1/deploys", &body).await?;
    if !args.follow {
        output
            .facts(&accepted, |accepted, _| format!("{} is {}: job {}\n", body.image, accepted.state, accepted.id))?;
        return Ok(Exit::Done);
    }
    show_to_the_end(control, &accepted, output).await
}

/// Follows an accepted job and shows what it did.
pub async fn show_to_the_end(control: &Control, accepted: &Accepted, output: &mut Output) -> Result<Exit, Trouble> {
    let mut watcher = watcher();
    let ended = follow(control, &accepted.id, watcher.as_mut()).await;
    watcher.leave();
    let ended = ended?;
    output.facts(&ended.job, render::history::job)?;
    Ok(ended.exit)
}
