//! `layerkeeper pin`
//!
//! Changes a file and nothing else: the daemon takes it over with a reload, as it does whatever an editor wrote.

mod file;
mod here;

use std::path::Path;

use layerkeeper_core::{KeptName, Quarter};

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
    let series = matches!(place.named, KeptName::Series(_));
    if args.quarter.is_none() {
        of_this_quarter(&place, &args.image)?;
    }
    let (mut pinned, edited) = if args.quarter.is_some() || series && args.remove && place.pin.is_none() {
        to_quarter(file, &place, args.quarter)?
    } else {
        let config = Config::parse(&original.text, file, &environment)?;
        to_digest(cli, args, &place, &config).await?
    };
    if let Some(edited) = &edited {
        original.replace(&edited.text)?;
    }
    pinned.image = place.named.to_string();
    pinned.file = file.display().to_string();
    pinned.changed = edited.is_some();
    pinned.line = edited.as_ref().map(|edited| edited.line);
    pinned.removed_line = edited.as_ref().and_then(|edited| edited.before.clone());
    pinned.added_line = edited.and_then(|edited| edited.after);
    output.facts(&pinned, |pinned, _| render::pin::pin(pinned))?;
    Ok(Exit::Done)
}

type Done = (Pinned, Option<Edited>);

/// A digest is of one quarter: that of the block. One that is given, or taken out, for another must not go there.
fn of_this_quarter(place: &PinPlace<'_>, named: &KeptName) -> Result<(), Trouble> {
    let (KeptName::Series(template), KeptName::Image(image), Some(quarter)) = (&place.named, named, place.quarter)
    else {
        return Ok(());
    };
    match template.quarter_of(image) {
        Some(other) if other != quarter => Err(Trouble::Refused(format!(
            "{image} is of {other}, and the block of {template} stays at {quarter}; nothing was written. To stay at the other: \
             `layerkeeper pin '{template}' --quarter {other}`, then the digest. For the digest of {quarter} say \
             `layerkeeper pin '{template}'`"
        ))),
        _ => Ok(()),
    }
}

/// The only content that it may have.
async fn to_digest(cli: &Cli, args: &PinArgs, place: &PinPlace<'_>, config: &Config) -> Result<Done, Trouble> {
    let image = match (&place.named, place.quarter) {
        (KeptName::Image(image), _) => image.clone(),
        (KeptName::Series(template), Some(quarter)) => template.name(quarter),
        (KeptName::Series(template), None) => {
            return Err(Trouble::Refused(format!(
                "{template} follows every quarter, and a digest is of one; say which to stay at: \
                 `layerkeeper pin '{template}' --quarter 2026q3`"
            )));
        }
    };
    let (wanted, is_here) = match args.digest {
        _ if args.remove => (None, None),
        Some(digest) => (Some(digest), None),
        None => (Some(here::digest(cli, config, &image).await?), Some(true)),
    };
    let edited = place.edit(wanted).map_err(|error| told(&cli.config, error))?;
    let text = |digest: layerkeeper_core::Digest| digest.to_string();
    Ok((
        Pinned { key: "digest", old: place.pin.map(text), new: wanted.map(text), is_here, ..Pinned::default() },
        edited,
    ))
}

/// The quarter to stay at.
fn to_quarter(file: &Path, place: &PinPlace<'_>, wanted: Option<Quarter>) -> Result<Done, Trouble> {
    let named = &place.named;
    if matches!(named, KeptName::Image(_)) {
        return Err(Trouble::Refused(format!("{named} has no {{quarter}} in its tag, so there is none to stay at")));
    }
    if let Some(pin) = place.pin.filter(|_| wanted != place.quarter) {
        return Err(Trouble::Refused(format!(
            "{named} is pinned to {pin}, which is of another quarter; take that out first: `layerkeeper pin '{named}' --remove`"
        )));
    }
    let edited = place.edit_quarter(wanted).map_err(|error| told(file, error))?;
    let text = |quarter: Quarter| quarter.to_string();
    Ok((Pinned { key: "quarter", old: place.quarter.map(text), new: wanted.map(text), ..Pinned::default() }, edited))
}

fn told(file: &Path, error: PinError) -> Trouble {
    match error {
        PinError::Bad(error) => Trouble::Config(error),
        PinError::NotKept { .. } => Trouble::Refused(format!("{error} ({})", file.display())),
        PinError::Shape { .. } => Trouble::Failed(format!("{}: {error}; nothing was written", file.display())),
    }
}
