//! The digest that a name has here: from the daemon, or from the engine itself while the daemon is down.

use layerkeeper_core::{Digest, Image, ImageName, Reference, Selector};
use layerkeeper_engine::docker::Docker;
use layerkeeper_engine::{Engine, EngineError};
use layerkeeper_keeper::Status;
use layerkeeper_keeper::status::ImageStatus;

use crate::cli::Cli;
use crate::cli::remote::Control;
use crate::cli::trouble::Trouble;
use crate::config::Config;

/// The digests under which its own repository knows the image; none where the name is not here.
type Found = Option<Vec<Digest>>;

/// The one digest that the name has here.
pub(super) async fn digest(cli: &Cli, config: &Config, image: &ImageName) -> Result<Digest, Trouble> {
    let found = match by_daemon(&Control::of(cli)?, image).await {
        Err(Trouble::Unreachable { at, cause }) => by_engine(&config.engine_host, image).await.map_err(|error| {
            let cause = format!("{cause}. Nor can the engine be asked: {error}. `--digest sha256:…` needs neither");
            Trouble::Unreachable { at, cause }
        })?,
        other => other?,
    };
    only(image, found)
}

async fn by_daemon(control: &Control, image: &ImageName) -> Result<Found, Trouble> {
    let status: Status = control.0.get("/v1/status").await?;
    if !status.engine.up {
        let cause = status.engine.error.unwrap_or_else(|| "it has not been looked at yet".to_owned());
        return Err(Trouble::Passing { cause: format!("the daemon has no engine to ask: {cause}"), retry_after: None });
    }
    let images: Vec<ImageStatus> = control.0.get("/v1/images").await?;
    Ok(named(&images, image))
}

fn named(images: &[ImageStatus], image: &ImageName) -> Found {
    let is_it = |name: &String| name.parse::<ImageName>().is_ok_and(|name| name == *image);
    let found = images.iter().find(|candidate| candidate.names.iter().any(is_it))?;
    let own = |row: &String| match row.parse::<Reference>().ok()? {
        Reference { repository, selector: Selector::Digest(digest) } if repository == image.repository => Some(digest),
        _ => None,
    };
    Some(found.digests.iter().filter_map(own).collect())
}

async fn by_engine(host: &str, image: &ImageName) -> Result<Found, EngineError> {
    let found = Docker::connect(host)?.image(&image.to_reference()).await?;
    let own = |found: Image| found.digests_in(&image.repository).collect();
    Ok(found.map(own))
}

fn only(image: &ImageName, found: Found) -> Result<Digest, Trouble> {
    let why = match found.as_deref() {
        Some([digest]) => return Ok(*digest),
        None => {
            format!("{image} is not here, so it has no digest to pin; bring it here with `layerkeeper prewarm {image}`")
        }
        Some([]) => format!(
            "{image} was made on this host: no registry knows it by a digest of {}. \
             `layerkeeper prewarm {image}` brings the registry's",
            image.repository
        ),
        Some(several) => {
            let all: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!(
                "{image} is known here by {} digests, {}; say which: `layerkeeper pin {image} --digest {}`",
                all.len(),
                all.join(" and "),
                all[0]
            )
        }
    };
    Err(Trouble::Failed(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "r.io/base:1";

    fn status(names: &[&str], digests: &[String]) -> ImageStatus {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ImageStatus { names, digests: digests.to_vec(), ..ImageStatus::default() }
    }

    fn row(repository: &str, seed: u8) -> String {
        format!("{repository}@{}", Digest::of(&[seed]))
    }

    fn ask(images: &[ImageStatus]) -> Result<Digest, String> {
        let image: ImageName = IMAGE.parse().unwrap();
        only(&image, named(images, &image)).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn the_digest_is_that_of_the_names_own_repository() {
        let images = [
            status(&["r.io/base:2"], &[row("r.io/base", 2)]),
            status(&["r.io/other:1", IMAGE], &[row("r.io/other", 3), row("r.io/base", 1)]),
        ];
        assert_eq!(ask(&images), Ok(Digest::of(&[1])));
    }

    #[test]
    fn what_is_not_here_was_made_here_or_has_several_digests_is_refused_with_what_to_do() {
        let absent = ask(&[status(&["r.io/base:2"], &[row("r.io/base", 2)])]).unwrap_err();
        assert!(absent.contains("is not here") && absent.contains("`layerkeeper prewarm r.io/base:1`"), "{absent}");
        let local = ask(&[status(&[IMAGE], &[row("r.io/other", 3)])]).unwrap_err();
        assert!(local.contains("was made on this host"), "{local}");
        let several = ask(&[status(&[IMAGE], &[row("r.io/base", 1), row("r.io/base", 2)])]).unwrap_err();
        assert!(several.contains("by 2 digests") && several.contains("pin r.io/base:1 --digest sha256:"), "{several}");
    }
}
