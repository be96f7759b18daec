//! The settings in force: what the configuration says, with the quarters that its series are at.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use layerkeeper_core::{ImageName, JobId, Quarters, Template, Timestamp};

use crate::context::Context;
use crate::settings::{KeepSeries, Settings};

/// Both, and what comes of them.
#[derive(Debug)]
pub(super) struct InForce {
    configured: Settings,
    quarters: BTreeMap<Template, Quarters>,
    settings: Arc<Settings>,
}

impl InForce {
    pub fn new(configured: Settings, quarters: BTreeMap<Template, Quarters>, now: Timestamp) -> Self {
        let settings = Arc::new(configured.at(&quarters, now));
        Self { configured, quarters, settings }
    }
}

impl Context {
    /// What is kept of a series are images with a name, as any other.
    pub fn settings(&self) -> Arc<Settings> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).settings.clone()
    }

    /// The configuration was read again.
    pub fn replace_settings(&self, configured: Settings) {
        self.metrics.budgets(&configured.policy.runtime);
        {
            let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
            *in_force = InForce::new(configured, std::mem::take(&mut in_force.quarters), self.now());
        }
        self.confirm.store(true, Ordering::SeqCst);
        self.reloaded.notify_one();
        self.look.notify_one();
    }

    /// Images that the configuration names no more, in no quarter.
    pub async fn let_go_of_removed(&self) {
        self.let_go(|image| self.settings().keep_of(image).is_none()).await;
    }

    /// Of these, which are kept no more, it is forgotten what they had: where they are kept again one day and are not here,
    /// nobody took them.
    async fn let_go(&self, is_out: impl Fn(&ImageName) -> bool) {
        let had: Vec<ImageName> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().filter(|(_, kept)| kept.state.digest.is_some()).map(|(image, _)| image.clone()).collect()
        };
        for image in had.iter().filter(|image| is_out(image)) {
            self.remember_kept(image, |kept| kept.state.digest = None).await;
        }
    }

    /// The quarters that a series is at.
    pub fn quarters(&self, of: &KeepSeries) -> Quarters {
        let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        in_force.quarters.get(&of.series.template).copied().unwrap_or_default()
    }

    /// Has the series the newest that there can be, verified?
    pub fn is_settled(&self, of: &KeepSeries) -> bool {
        of.series.is_settled(self.quarters(of), of.today(self.now()))
    }

    /// From here on the series is at these quarters, durably; what is kept of it follows.
    pub async fn stand_at(&self, of: &KeepSeries, at: Quarters, job: &JobId) {
        let template = &of.series.template;
        let before = self.quarters(of);
        if before == at {
            return;
        }
        {
            let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
            in_force.quarters.insert(template.clone(), at);
            in_force.settings = Arc::new(in_force.configured.at(&in_force.quarters, self.now()));
        }
        if let Err(error) = self.store.save_quarters(template, at).await {
            tracing::error!(%template, %error, "could not store which quarter is kept");
        }
        self.let_go(|image| template.quarter_of(image).is_some() && self.settings().policy.kept(image).is_none()).await;
        if let (Some(new), true) = (at.current, at.current != before.current) {
            let name = template.name(new);
            let told = match before.current {
                Some(old) => {
                    let old = template.name(old);
                    let due = self.kept(&old).and_then(|kept| kept.state.last_scheduled);
                    self.remember_kept(&name, |kept| kept.state.last_scheduled = kept.state.last_scheduled.max(due))
                        .await;
                    let is_here = self.view().inventory.is_none_or(|inventory| inventory.named(&old).is_some());
                    let stays =
                        if is_here { format!(" and stays here until `docker rmi {old}`") } else { String::new() };
                    format!("takes the place of {old}, which is kept no more{stays}")
                }
                None => format!("is here and kept for {template}"),
            };
            tracing::info!(image = %name, %job, "{told}");
            self.note("quarter", Some(name.to_string()), Some(job), told).await;
        }
        self.reloaded.notify_one();
        self.look.notify_one();
    }
}
