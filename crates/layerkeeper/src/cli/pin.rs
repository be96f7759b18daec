//! `layerkeeper pin`
//!
//! Changes a file and nothing else: the daemon takes it over with a reload, as it does whatever an editor wrote.

mod file;
mod here;

use std::path::Path;

use layerkeeper_core::{Digest, ImageName};

use super::exit::Exit;
use super::output::Output;
use super::trouble::Trouble;
use super::{Cli, PinArgs};
use crate::config::pin::{Edited, PinError, PinPlace};
use crate::config::{Config, Environment};
use crate::render;
use crate::render::pin::Pinned;
use file::Original;

/// Writes a pin into the configuration, or takes it out.
pub async fn pin(cli: &Cli, args: &PinArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let file = cli.config.as_path();
    let original = Original::read(file)?;
    let environment = Environment::of_process();
    let place = PinPlace::find(&original.text, file, &environment, &args.image).map_err(|error| told(file, error))?;
    let wanted = match args.digest {
        _ if args.remove => None,
        Some(digest) => Some(digest),
        None => {
            let config = Config::parse(&original.text, file, &environment)?;
            Some(here::digest(cli, &config, &args.image).await?)
        }
    };
    let edited = place.edit(wanted).map_err(|error| told(file, error))?;
    if let Some(edited) = &edited {
        original.replace(&edited.text)?;
    }
    let mut pinned = facts(file, &args.image, (place.pin, wanted), edited);
    pinned.is_here = (args.digest.is_none() && !args.remove).then_some(true);
    output.facts(&pinned, |pinned, _| render::pin::pin(pinned))?;
    Ok(Exit::Done)
}

fn facts(
    file: &Path,
    image: &ImageName,
    (old, new): (Option<Digest>, Option<Digest>),
    edited: Option<Edited>,
) -> Pinned {
    let text = |digest: Digest| digest.to_string();
    Pinned {
        image: image.to_string(),
        file: file.display().to_string(),
        changed: edited.is_some(),
        old: old.map(text),
        new: new.map(text),
        is_here: None,
        line: edited.as_ref().map(|edited| edited.line),
        removed_line: edited.as_ref().and_then(|edited| edited.before.clone()),
        added_line: edited.and_then(|edited| edited.after),
    }
}

fn told(file: &Path, error: PinError) -> Trouble {
    match error {
        PinError::Bad(error) => Trouble::Config(error),
        PinError::NotKept { .. } => Trouble::Refused(format!("{error} ({})", file.display())),
        PinError::Shape { .. } => Trouble::Failed(format!("{}: {error}; nothing was written", file.display())),
    }
}
