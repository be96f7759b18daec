//! `layerkeeper status`

use std::time::Duration;

use layerkeeper_keeper::Status;

use super::StatusArgs;
use super::exit::Exit;
use super::output::Output;
use super::remote::Control;
use super::trouble::Trouble;
use crate::render;

const ASK_EVERY: Duration = Duration::from_millis(500);

/// Shows the status, where wanted only once nothing waits or runs.
pub async fn status(control: &Control, args: &StatusArgs, output: &mut Output) -> Result<Exit, Trouble> {
    loop {
        let status: Status = control.0.get("/v1/status").await?;
        if args.wait_idle && (!status.ready || status.queued > 0 || status.running.is_some()) {
            tokio::time::sleep(ASK_EVERY).await;
            continue;
        }
        output.facts(&status, render::status::status)?;
        return Ok(Exit::Done);
    }
}
