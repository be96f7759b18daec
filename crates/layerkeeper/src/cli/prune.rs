//! `layerkeeper prune`

use layerkeeper_http::wire::{Accepted, PruneBody};
use layerkeeper_store::record::PruneRecord;

use super::PruneArgs;
use super::deploy::show_to_the_end;
use super::exit::Exit;
use super::output::Output;
use super::remote::Control;
use super::trouble::Trouble;
use crate::render;

/// Shows the plan that would run, or runs it and shows what became of it.
pub async fn prune(control: &Control, args: &PruneArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let body = PruneBody { superseded: args.superseded, dry_run: args.dry_run };
    if args.dry_run {
        let plan: PruneRecord = control.0.post("/v1/prune", &body).await?;
        output.facts(&plan, render::prune::prune)?;
        return Ok(Exit::Done);
    }
    let accepted: Accepted = control.0.post("/v1/prune", &body).await?;
    show_to_the_end(control, &accepted, output).await
}
