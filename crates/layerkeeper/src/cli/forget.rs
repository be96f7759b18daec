//! `layerkeeper forget`

use layerkeeper_http::wire::ForgetBody;
use layerkeeper_keeper::status::ForgottenStatus;

use super::ForgetArgs;
use super::exit::Exit;
use super::output::Output;
use super::remote::Control;
use super::trouble::Trouble;

/// Has an image kept and healed no more.
pub async fn forget(control: &Control, args: &ForgetArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let body = ForgetBody { image: args.image.to_string() };
    let forgotten: ForgottenStatus = control.0.post("/v1/forget", &body).await?;
    output.facts(&forgotten, |forgotten, _| {
        let image = &forgotten.image;
        format!(
            "{image} is forgotten: it is not kept, refreshed or brought back any more, whatever the configuration says.\n\
             Nothing was removed; `docker rmi {image}` now stays done. A new deploy of it or `layerkeeper prewarm {image}` \
             takes this back.\n"
        )
    })?;
    Ok(Exit::Done)
}
