//! The engine, with what we vouch for beside what it knows by itself.
//!
//! An engine learns the digest of a name only by a pull from that name's own registry. Where that was away and the content
//! came from a mirror by its digest, our record of it ([`Provenance`]) stands in until the registry answers again: an image
//! that is the recorded one by id and layers has the digest, too. So nothing else in the corridor needs to know of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use layerkeeper_core::{Container, Digest, EngineInfo, Image, ImageName, Inventory, Reference, Selector};
use layerkeeper_engine::contents::{Bytestream, Kind};
use layerkeeper_engine::{Engine, EngineError, EventStream, Login, PullStream, Removed};
use layerkeeper_store::{Provenance, Store, StoreError};

type Records = BTreeMap<(ImageName, Digest), Provenance>;

/// An engine, and what we vouch for.
pub(crate) struct Vouched {
    engine: Arc<dyn Engine>,
    store: Store,
    /// By name and digest: a name that moves on has both, until it is seen which it stands for.
    records: Mutex<Records>,
}

impl Vouched {
    pub async fn new(engine: Arc<dyn Engine>, store: Store) -> Result<Self, StoreError> {
        let records = store.provenance().await?.into_iter().map(|record| (key(&record), record)).collect();
        Ok(Self { engine, store, records: Mutex::new(records) })
    }

    /// Vouches, durably.
    pub async fn vouch(&self, record: Provenance) -> Result<(), StoreError> {
        self.store.save_provenance(record.clone()).await?;
        self.records().insert(key(&record), record);
        Ok(())
    }

    /// Vouches no longer.
    pub async fn forget(&self, record: &Provenance) -> Result<(), StoreError> {
        self.store.forget_provenance(&record.name, record.digest).await?;
        self.records().remove(&key(record));
        Ok(())
    }

    /// Do we say anything of this name?
    pub fn knows(&self, name: &ImageName) -> bool {
        self.records().values().any(|record| record.name == *name)
    }

    /// What we say of a name, as it is now.
    pub async fn standing(&self, name: &ImageName) -> Result<Option<Provenance>, EngineError> {
        let of_name: Vec<Provenance> = self.all().into_iter().filter(|record| record.name == *name).collect();
        for record in of_name {
            if self.stands(&record).await? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// All that we vouch for.
    pub fn all(&self) -> Vec<Provenance> {
        self.records().values().cloned().collect()
    }

    /// Is the name that image still? The containerd store then shows the digest, too, but by the name alone: once the name moves
    /// on, the content is nobody's.
    pub async fn stands(&self, record: &Provenance) -> Result<bool, EngineError> {
        let image = self.engine.image(&record.name.to_reference()).await?;
        Ok(image.is_some_and(|image| record.is_of(&image)))
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the digests that we vouch for.
    fn add_to(&self, image: &mut Image) {
        for record in self.records().values() {
            let alias = |&(ref repository, digest): &(_, Digest)| {
                *repository == record.alias.repository && record.alias.selector == Selector::Digest(digest)
            };
            let is_known = image.names.contains(&record.name) || image.digests.iter().any(alias);
            if is_known && record.is_of(image) {
                image.digests.insert((record.name.repository.clone(), record.digest));
            }
        }
    }

    /// As the engine itself shows it.
    fn take_from(&self, image: &mut Image) {
        for record in self.records().values() {
            if record.is_of(image) {
                image.digests.remove(&(record.name.repository.clone(), record.digest));
            }
        }
    }

    /// The reference by which the engine itself knows what this one stands for.
    async fn known_as(&self, reference: &Reference) -> Result<Reference, EngineError> {
        let vouched = |record: &&Provenance| {
            record.name.repository == reference.repository && reference.selector == Selector::Digest(record.digest)
        };
        let records: Vec<Provenance> = self.records().values().filter(vouched).cloned().collect();
        if records.is_empty() || self.engine.image(reference).await?.is_some() {
            return Ok(reference.clone());
        }
        for record in records {
            for known in [record.name.to_reference(), record.alias.clone()] {
                if self.engine.image(&known).await?.is_some_and(|image| record.is_of(&image)) {
                    return Ok(known);
                }
            }
        }
        Ok(reference.clone())
    }
}

fn key(record: &Provenance) -> (ImageName, Digest) {
    (record.name.clone(), record.digest)
}

#[async_trait]
impl Engine for Vouched {
    async fn ping(&self) -> Result<(), EngineError> {
        self.engine.ping().await
    }

    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.engine.info().await
    }

    async fn inventory(&self) -> Result<Inventory, EngineError> {
        let mut inventory = self.engine.inventory().await?;
        inventory.images.iter_mut().for_each(|image| self.add_to(image));
        Ok(inventory)
    }

    async fn still_holds(&self, known: &Inventory) -> Result<bool, EngineError> {
        if self.records().is_empty() {
            return self.engine.still_holds(known).await;
        }
        let mut known = known.clone();
        known.images.iter_mut().for_each(|image| self.take_from(image));
        self.engine.still_holds(&known).await
    }

    async fn image(&self, reference: &Reference) -> Result<Option<Image>, EngineError> {
        let known = self.known_as(reference).await?;
        let mut image = self.engine.image(&known).await?;
        image.iter_mut().for_each(|image| self.add_to(image));
        Ok(image)
    }

    async fn labels(&self, reference: &Reference) -> Result<BTreeMap<String, String>, EngineError> {
        self.engine.labels(&self.known_as(reference).await?).await
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.engine.containers().await
    }

    async fn resolve(&self, reference: &Reference, login: Option<&Login>) -> Result<Digest, EngineError> {
        self.engine.resolve(reference, login).await
    }

    async fn pull(&self, reference: &Reference, login: Option<&Login>) -> Result<PullStream, EngineError> {
        self.engine.pull(reference, login).await
    }

    async fn tag(&self, source: &Reference, name: &ImageName) -> Result<(), EngineError> {
        self.engine.tag(&self.known_as(source).await?, name).await
    }

    async fn remove(&self, reference: &Reference) -> Result<Removed, EngineError> {
        self.engine.remove(reference).await
    }

    async fn events(&self) -> Result<EventStream, EngineError> {
        self.engine.events().await
    }

    async fn open(&self, image: &Reference, owner: &str) -> Result<String, EngineError> {
        self.engine.open(&self.known_as(image).await?, owner).await
    }

    async fn archive(&self, opened: &str, path: &str) -> Result<Bytestream, EngineError> {
        self.engine.archive(opened, path).await
    }

    async fn stat(&self, opened: &str, path: &str) -> Result<Option<Kind>, EngineError> {
        self.engine.stat(opened, path).await
    }

    async fn close(&self, opened: &str) -> Result<(), EngineError> {
        self.engine.close(opened).await
    }

    async fn left_open(&self, owner: &str) -> Result<Vec<String>, EngineError> {
        self.engine.left_open(owner).await
    }
}

#[cfg(test)]
mod tests {
    use layerkeeper_core::{JobId, StoreKind, Timestamp};
    use layerkeeper_engine::fake::{Fake, FakeImage};
    use layerkeeper_store::Options;

    use super::*;

    /// An engine that has an image under the relay's name, and us, who vouch for it.
    async fn ground() -> (Fake, Vouched, Provenance) {
        let fake = Fake::new(StoreKind::Graphdriver);
        let image = FakeImage::new("app", &[("base", 100), ("app", 10)]);
        let digest = image.resolved();
        let alias: Reference = format!("127.0.0.1:40000/acme/app@{digest}").parse().unwrap();
        fake.preload(&alias, &image);
        let shown = fake.image(&alias).await.unwrap().unwrap();
        let record = Provenance {
            name: "ghcr.io/acme/app:sha-1".parse().unwrap(),
            digest,
            image_id: shown.id,
            layers: shown.layers,
            alias,
            source: "mirror.lan:5000".to_owned(),
            job: JobId::from_bits([7; 16]),
            at: Timestamp(0),
        };
        let store = Store::open_in_memory(Options::default()).unwrap();
        let vouched = Vouched::new(Arc::new(fake.clone()), store).await.unwrap();
        vouched.vouch(record.clone()).await.unwrap();
        (fake, vouched, record)
    }

    fn by_digest(record: &Provenance) -> Reference {
        record.name.repository.by_digest(record.digest)
    }

    #[tokio::test]
    async fn what_came_under_another_name_is_found_by_its_digest_and_named_by_it() {
        let (fake, vouched, record) = ground().await;
        assert!(fake.image(&by_digest(&record)).await.unwrap().is_none());
        let shown = vouched.image(&by_digest(&record)).await.unwrap().unwrap();
        assert!(shown.has_digest(&record.name.repository, record.digest));
        assert!(!vouched.stands(&record).await.unwrap());

        vouched.tag(&by_digest(&record), &record.name).await.unwrap();
        vouched.remove(&record.alias).await.unwrap();
        assert!(vouched.stands(&record).await.unwrap());
        let inventory = vouched.inventory().await.unwrap();
        assert!(inventory.named(&record.name).unwrap().has_digest(&record.name.repository, record.digest));
        assert!(vouched.image(&by_digest(&record)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn another_image_under_the_name_is_not_vouched_for() {
        let (fake, vouched, record) = ground().await;
        // other content, and the same layers with another configuration
        let others = [
            FakeImage::new("other", &[("base", 100), ("other", 10)]),
            FakeImage::new("rebuilt", &[("base", 100), ("app", 10)]),
        ];
        for other in others {
            fake.load(&record.name, &other);
            assert!(!vouched.stands(&record).await.unwrap());
            let shown = vouched.image(&record.name.to_reference()).await.unwrap().unwrap();
            assert!(!shown.has_digest(&record.name.repository, record.digest));
            let inventory = vouched.inventory().await.unwrap();
            assert!(!inventory.named(&record.name).unwrap().has_digest(&record.name.repository, record.digest));
        }
    }

    #[tokio::test]
    async fn once_we_forget_it_nothing_is_added() {
        let (_, vouched, record) = ground().await;
        vouched.tag(&by_digest(&record), &record.name).await.unwrap();
        vouched.forget(&record).await.unwrap();
        assert!(vouched.image(&by_digest(&record)).await.unwrap().is_none());
        let shown = vouched.image(&record.name.to_reference()).await.unwrap().unwrap();
        assert!(!shown.has_digest(&record.name.repository, record.digest));
    }

    #[tokio::test]
    async fn what_is_vouched_for_holds_like_everything_else() {
        let (fake, _, record) = ground().await;
        fake.flip_store(StoreKind::Containerd);
        fake.preload(&record.alias, &FakeImage::new("app", &[("base", 100), ("app", 10)]));
        let shown = fake.image(&record.alias).await.unwrap().unwrap();
        let record = Provenance { image_id: shown.id, ..record };
        let store = Store::open_in_memory(Options::default()).unwrap();
        let vouched = Vouched::new(Arc::new(fake.clone()), store).await.unwrap();
        vouched.vouch(record.clone()).await.unwrap();
        let known = vouched.inventory().await.unwrap();
        assert!(vouched.still_holds(&known).await.unwrap());
        fake.foreign_remove(&record.alias).unwrap();
        assert!(!vouched.still_holds(&known).await.unwrap());
    }
}
