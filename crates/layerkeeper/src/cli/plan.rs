//! `layerkeeper plan`

use layerkeeper_http::client::path;
use layerkeeper_keeper::Estimated;

use super::PlanArgs;
use super::exit::Exit;
use super::output::Output;
use super::remote::Control;
use super::trouble::Trouble;
use crate::render;

/// Shows what a pull would move.
pub async fn plan(control: &Control, args: &PlanArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let query = path("/v1/plan", &[("image", &args.image.to_string())]);
    let estimated: Estimated = control.0.get(&query).await?;
    output.facts(&estimated, render::estimate::estimate)?;
    Ok(Exit::Done)
}
