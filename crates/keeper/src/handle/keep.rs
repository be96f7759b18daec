//! What an operator may say of kept images.

use layerkeeper_core::{ImageName, Intent, KeptName, Trigger};

use super::{DeployAnswer, Keeper, Refusal, answer};
use crate::context::Context;
use crate::status::ForgottenStatus;
use crate::tell;

impl Keeper {
    /// The names that a kept image has now: of a series what is kept of it.
    ///
    /// # Errors
    /// No such series is configured.
    pub fn names(&self, kept: &KeptName) -> Result<Vec<ImageName>, Refusal> {
        let template = match kept {
            KeptName::Image(image) => return Ok(vec![image.clone()]),
            KeptName::Series(template) => template,
        };
        let settings = self.0.settings();
        let of_it = settings
            .policy
            .keep
            .iter()
            .filter(|keep| settings.series_of(&keep.image).is_some_and(|of| of.series.template == *template));
        let names: Vec<ImageName> = of_it.map(|keep| keep.image.clone()).collect();
        match names.is_empty() {
            true => Err(Refusal::Policy(format!("{template} is not a kept image; add it as a [[keep]] block"))),
            false => Ok(names),
        }
    }

    /// Refreshes kept images, all of them where none is named.
    ///
    /// # Errors
    /// One of them is not a kept image: then nothing is queued.
    pub async fn prewarm(&self, images: &[ImageName], uid: u32) -> Result<Vec<DeployAnswer>, Refusal> {
        let settings = self.0.settings();
        let is_kept = |image: &ImageName| settings.policy.kept(image).is_some();
        for image in images {
            if !self.0.admits_quarter(image)? && !is_kept(image) {
                return Err(Refusal::Policy(format!("{image} is not a kept image; add it as a [[keep]] block")));
            }
        }
        for image in images {
            self.0.lift(image).await?;
        }
        let kept = settings.policy.keep.iter().map(|keep| &keep.image);
        let named = kept.filter(|image| images.is_empty() || images.contains(image));
        let newer = images.iter().filter(|image| !is_kept(image));
        let mut answers = Vec::new();
        for image in named.chain(newer) {
            let intent = Intent::Warm { image: image.clone(), digest: None };
            answers.push(answer(&self.0.enqueue(intent, Trigger::Operator { uid }).await?));
        }
        Ok(answers)
    }

    /// Keeps and heals this image no more, until a new deploy or `prewarm IMAGE` names it: beats the configuration, and
    /// survives restarts. Removes nothing.
    ///
    /// # Errors
    /// [`Refusal::Policy`] for an image that is neither kept nor a runtime tag.
    pub async fn forget(&self, image: &ImageName, uid: u32) -> Result<ForgottenStatus, Refusal> {
        let policy = &self.0.settings().policy;
        let tag = policy.runtime(&image.repository).is_some_and(|runtime| runtime.may_prune(image));
        if policy.kept(image).is_none() && !tag {
            return Err(Refusal::Policy(format!(
                "{image} is neither a kept image nor a tag that prune_tags matches: nothing would bring it back"
            )));
        }
        self.0.bury(image, format!("uid {uid}"), "forget".to_owned()).await?;
        self.0.open_losses().remove(image);
        let told = format!("by uid {uid}; not kept or brought back until a deploy or a prewarm names it");
        self.0.note("forgotten", Some(image.to_string()), None, told).await;
        self.0.look.notify_one();
        let stone = self.0.buried().get(image).map(tell::forgotten);
        stone.ok_or_else(|| Refusal::Unavailable(format!("{image} was deployed again in the same moment")))
    }
}

impl Context {
    /// Is this the name of a series in some quarter, so that a request for it warms the series?
    pub(super) fn admits_quarter(&self, image: &ImageName) -> Result<bool, Refusal> {
        let settings = self.settings();
        let Some(of) = settings.series_of(image) else { return Ok(false) };
        if settings.policy.kept(image).is_some() {
            return Ok(true);
        }
        let (template, today) = (&of.series.template, of.today(self.now()));
        let (Some(quarter), current) = (template.quarter_of(image), self.quarters(of).current) else {
            return Ok(false);
        };
        let refused = |why: String| Err(Refusal::Policy(format!("{image} is not kept here now: {why}")));
        match (of.series.quarter, current) {
            (Some(fixed), _) => refused(format!("the configuration stays at quarter = \"{fixed}\" of {template}")),
            (None, _) if quarter > today => refused(format!("{quarter} has not begun, it is {today}")),
            (None, Some(current)) if quarter < current => refused(format!(
                "{} took its place. To go back to it: `layerkeeper pin {image} --quarter {quarter}`, then a reload",
                template.name(current)
            )),
            (None, _) => Ok(true),
        }
    }
}
