//! The end of a sequence: nobody is in the way any more, and all that should be here comes.

use std::time::Duration;

use super::builds::full;
use super::operation::{KEPT, Name};
use super::trouble::Trouble;
use super::witness::now;
use super::world::World;

impl World {
    /// Engine and registry are up, there is room, no fault is left, and no container stands on anything.
    pub async fn calm(&mut self) {
        self.ledger.lock().unwrap().step += 1;
        *self.doom.lock().unwrap() = None;
        self.fake.clear_faults();
        self.trouble(&Trouble::Registry { keeper: true, engine: true }).await;
        self.trouble(&Trouble::Engine { up: true }).await;
        self.trouble(&Trouble::Disk(super::trouble::Room::Plenty)).await;
        for id in std::mem::take(&mut self.containers) {
            self.fake.remove_container(&id);
        }
        self.fake.release();
        // a loss that came again and again is healed once an hour, and a pull that stalled waits as long
        self.until_well().await;
        // what somebody else has put under a kept name is nothing to heal; the next refresh puts it right
        for n in 0..KEPT.len() {
            let name = full(Name::Kept(n));
            let here = now(&self.fake).is_some_and(|inventory| inventory.named(&name).is_some());
            if here && self.missing().contains(&name.to_string()) {
                self.prewarm(Some(n)).await;
            }
        }
        self.until_well().await;
        self.all_have_ended().await;
        for name in self.missing() {
            self.ledger.lock().unwrap().wrong(format!("{name} is not here, long after all is well again"));
        }
    }

    async fn until_well(&mut self) {
        for _ in 0..30 {
            self.until_idle().await;
            self.read_jobs().await;
            if self.under_way().await == (0, 0) && self.missing().is_empty() {
                return;
            }
            self.pass(Duration::from_secs(1200)).await;
        }
    }

    /// Kept images, not forgotten, that are not here as the registry once showed them, or as they are pinned.
    fn missing(&self) -> Vec<String> {
        let Some(inventory) = now(&self.fake) else { return vec!["the engine".to_owned()] };
        let ledger = self.ledger.lock().unwrap();
        let policy = ledger.policy();
        let wanted = policy.keep.iter().filter(|keep| !ledger.forgotten.contains_key(&keep.image));
        let lacks = wanted.filter(|keep| {
            let shown = &ledger.shown[&keep.image];
            let right = |digest| match keep.pin {
                Some(pin) => pin == digest,
                None => shown.iter().any(|build| build.contains(&digest)),
            };
            !inventory.named(&keep.image).is_some_and(|image| image.digests_in(&keep.image.repository).any(right))
        });
        lacks.map(|keep| keep.image.to_string()).collect()
    }
}
