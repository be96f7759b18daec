//! Makes things happen in the world.

use std::collections::BTreeSet;
use std::time::Duration;

use layerkeeper_core::{ContainerState, Digest, ImageId, ImageName, Inventory, StoreKind};
use layerkeeper_keeper::{DeployAnswer, DeployRequest};

use super::builds::{build, full};
use super::ledger::Gate;
use super::operation::{Name, Operation, Wish};
use super::trouble::{Room, Trouble};
use super::witness::now;
use super::world::{FLOOR, World, policy, settings};

impl World {
    /// Says what came of it.
    pub async fn does(&mut self, operation: Operation) -> String {
        let meddles = matches!(operation, Operation::Untag(_) | Operation::CleanUp | Operation::Tag { .. });
        let before = if meddles { self.before().await } else { None };
        let said = self.happens(operation).await;
        if let Some(before) = before {
            self.meddled(&before);
        }
        said
    }

    async fn happens(&mut self, operation: Operation) -> String {
        match operation {
            Operation::Build(version) => self.build(Name::Version(version)),
            Operation::Ship(version, by_digest) => {
                self.build(Name::Version(version));
                return self.deploy(version, if by_digest { Wish::Newest } else { Wish::Tag }).await;
            }
            Operation::Deploy(version, wish) => return self.deploy(version, wish).await,
            Operation::Move(n) => self.build(Name::Kept(n)),
            Operation::Prewarm(which) => return self.prewarm(which).await,
            Operation::Prune { superseded } => {
                let answer = self.keeper.prune(superseded, 0).await.unwrap();
                return self.accepted(&answer);
            }
            Operation::Forget(name) => return self.forget(name).await,
            Operation::Reload(rules) => {
                self.rules = rules;
                self.keeper.reload(settings(rules));
                self.ledger.lock().unwrap().policies.push(policy(rules));
            }
            Operation::Untag(name) if self.up => {
                let result = self.fake.foreign_remove(&full(name).to_reference());
                return result
                    .map_or_else(|error| error.to_string(), |removed| format!("{:?}", removed.untagged.len()));
            }
            Operation::CleanUp if self.up => self.fake.foreign_prune(true),
            Operation::Tag { from, to } if self.up => {
                if let Err(error) = self.fake.foreign_tag(&full(from).to_reference(), &full(to)) {
                    return error.to_string();
                }
                self.ledger.lock().unwrap().tagged.insert(full(to));
                return "done".to_owned();
            }
            Operation::Create(name) if self.up => return self.create(name, ContainerState::Created),
            Operation::Drop(n) if self.up && !self.containers.is_empty() => {
                let id = self.containers.remove(usize::from(n) % self.containers.len());
                self.fake.remove_container(&id);
            }
            Operation::Kill => {
                self.kill().await;
                self.start().await;
            }
            Operation::Pass(minutes) => self.pass(Duration::from_secs(u64::from(minutes) * 60)).await,
            Operation::Untag(_)
            | Operation::CleanUp
            | Operation::Tag { .. }
            | Operation::Create(_)
            | Operation::Drop(_) => {
                return "nothing".to_owned();
            }
        }
        String::new()
    }

    /// Says what came of it.
    pub async fn trouble(&mut self, trouble: &Trouble) -> String {
        match trouble {
            Trouble::Unpublish(version) => self.shop.unpublish(&self.fake, &full(Name::Version(*version))),
            Trouble::DeployInside(version) => {
                let name = full(Name::Version(*version));
                let digest =
                    self.built_last(*version).map(|last| build(Name::Version(*version), last).manifest_digest());
                return self.ask(name, digest).await;
            }
            Trouble::CleanUpDangling if self.up => {
                let before = self.before().await.unwrap();
                self.fake.foreign_prune(false);
                self.meddled(&before);
            }
            Trouble::Pull(name) if self.up => {
                let Some(image) = self.shop.shows(&full(*name)) else { return "not there".to_owned() };
                let before = self.before().await.unwrap();
                self.fake.preload(&full(*name).to_reference(), &image);
                self.meddled(&before);
            }
            Trouble::Create(name, state) if self.up => return self.create(*name, *state),
            Trouble::Disk(room) if self.up => self.leave(*room),
            Trouble::SpoilPull(fault) => self.fake.spoil_next_pull(fault.clone()),
            Trouble::SpoilRemoval(error) => self.fake.spoil_next_removal(error.clone()),
            Trouble::Release => self.fake.release(),
            Trouble::Engine { up } => self.engine(*up).await,
            Trouble::Flip => {
                self.engine(false).await;
                let other = match self.kind {
                    StoreKind::Graphdriver => StoreKind::Containerd,
                    StoreKind::Containerd => StoreKind::Graphdriver,
                };
                self.kind = other;
                self.fake.flip_store(other);
                self.engine(true).await;
            }
            Trouble::Registry { keeper, engine } => self.shop.reach(&self.fake, *keeper, *engine),
            Trouble::DieAt(point) => *self.doom.lock().unwrap() = Some(point),
            Trouble::Stop => {
                self.stop().await;
                self.start().await;
            }
            Trouble::Jump { ahead } => self.clocks.jump(*ahead),
            Trouble::CleanUpDangling | Trouble::Pull(_) | Trouble::Create(..) | Trouble::Disk(_) => {
                return "nothing".to_owned();
            }
        }
        String::new()
    }

    /// What is here before somebody else changes it, and whether a job that is under way may have made its plan by then.
    async fn before(&self) -> Option<(Inventory, bool)> {
        let (queued, running) = self.under_way().await;
        now(&self.fake).map(|inventory| (inventory, queued + running > 0))
    }

    /// Somebody else has changed what is here. The keeper must not go on before this is written down, so nothing is
    /// awaited here.
    fn meddled(&self, (before, planned): &(Inventory, bool)) {
        let Some(after) = now(&self.fake) else { return };
        let names = |inventory: &Inventory| -> BTreeSet<(ImageName, ImageId)> {
            inventory.images.iter().flat_map(|image| image.names.iter().map(|name| (name.clone(), image.id))).collect()
        };
        let mut ledger = self.ledger.lock().unwrap();
        ledger.meddled = ledger.step;
        if *planned {
            ledger.snatched += names(before).difference(&names(&after)).count();
        }
    }

    /// A plan that is under way may have found less.
    fn leave(&self, room: Room) {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.least_free = ledger.least_free.min(self.disk.free());
        self.disk.leave(match room {
            Room::Plenty => u64::MAX / 4,
            Room::Tight(megabytes) => FLOOR + megabytes * 1_000_000,
            Room::None => 0,
        });
    }

    /// Whoever listens must have heard, and listen again: a keeper takes a second for that, and no engine is faster.
    async fn engine(&mut self, up: bool) {
        self.polls.until_quiet(&self.store).await;
        if up == self.up {
            return;
        }
        self.up = up;
        self.fake.set_down(!up);
        self.ledger.lock().unwrap().gate = Gate::Closing;
        if up {
            self.pass(Duration::from_millis(2500)).await;
        }
    }

    fn built_last(&self, version: u8) -> Option<usize> {
        self.built.get(&Name::Version(version))?.checked_sub(1)
    }

    async fn deploy(&mut self, version: u8, wish: Wish) -> String {
        let name = Name::Version(version);
        let digest = self.built_last(version).and_then(|last| match wish {
            Wish::Tag => None,
            Wish::Newest => Some(build(name, last).resolved()),
            Wish::First => Some(build(name, 0).resolved()),
        });
        self.ask(full(name), digest).await
    }

    async fn ask(&mut self, image: ImageName, digest: Option<Digest>) -> String {
        let answer = self.keeper.deploy(DeployRequest { image, digest, over_limit: false }, 0).await.unwrap();
        self.accepted(&answer)
    }

    pub async fn prewarm(&mut self, which: Option<usize>) -> String {
        let images: Vec<ImageName> = which.map(|n| full(Name::Kept(n))).into_iter().collect();
        let answers = self.keeper.prewarm(&images, 0).await.unwrap();
        let mut ledger = self.ledger.lock().unwrap();
        ledger.forgotten.retain(|image, _| !images.contains(image));
        drop(ledger);
        answers.iter().map(|answer| self.accepted(answer)).collect::<Vec<_>>().join(", ")
    }

    async fn forget(&mut self, name: Name) -> String {
        let image = full(name);
        match self.keeper.forget(&image, 0).await {
            Ok(_) => {
                self.ledger.lock().unwrap().forgotten.insert(image, false);
                String::new()
            }
            Err(refusal) => refusal.to_string(),
        }
    }

    fn create(&mut self, name: Name, state: ContainerState) -> String {
        let reference = full(name).to_reference();
        let here = now(&self.fake).is_some_and(|inventory| inventory.find(&reference).is_some());
        if !here {
            return "no such image".to_owned();
        }
        let id = self.fake.create_container(&format!("c{}", self.containers.len()), &reference, state);
        self.containers.push(id);
        String::new()
    }

    /// From here on it must come to an end.
    fn accepted(&self, answer: &DeployAnswer) -> String {
        let mut ledger = self.ledger.lock().unwrap();
        let job = &answer.job;
        ledger.knows(job.seq, &job.id, &job.intent);
        format!("job {}{}", job.seq, if answer.joined { " joined" } else { "" })
    }
}
