//! The suite on the fake, with both image stores.

use async_trait::async_trait;
use layerkeeper_core::{ContainerState, Digest, ImageName, Reference, StoreKind};

use super::{Published, Recipe, Subject, suite};
use crate::Engine;
use crate::fake::{Call, Fake, FakeImage, FakeLayer};

const FAST: &str = "registry.test:5000";
const SLOW: &str = "slow.test:5000";
const SILENT: &str = "silent.test:1";

struct OnFake(Fake, StoreKind);

impl OnFake {
    fn new(store: StoreKind) -> Self {
        let fake = Fake::new(store);
        fake.registry().make_unreachable(SILENT);
        fake.registry().make_slow(SLOW);
        Self(fake, store)
    }
}

fn pairs(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect()
}

#[async_trait]
impl Subject for OnFake {
    fn engine(&self) -> &dyn Engine {
        &self.0
    }

    fn store(&self) -> StoreKind {
        self.1
    }

    fn registry(&self) -> String {
        FAST.to_owned()
    }

    fn slow_registry(&self) -> String {
        SLOW.to_owned()
    }

    fn slow_pulls(&self) -> usize {
        let is_slow = |reference: &Reference| reference.repository.registry() == SLOW;
        let log = self.0.log();
        let count =
            |wanted: fn(&Call) -> Option<&Reference>| log.iter().filter_map(wanted).filter(|r| is_slow(r)).count();
        let begun = count(|call| if let Call::Pull { reference, .. } = call { Some(reference) } else { None });
        let ended = count(|call| if let Call::PullEnded { reference, .. } = call { Some(reference) } else { None });
        begun - ended
    }

    fn silent_registry(&self) -> String {
        SILENT.to_owned()
    }

    async fn publish(&self, name: &str, recipe: &Recipe) -> Published {
        let how = if recipe.recompressed { "otherwise" } else { "gzip" };
        let layers = recipe.layers.iter().map(|(name, size)| FakeLayer::compressed_as(name, how, *size));
        let more = (!recipe.files.is_empty()).then(|| {
            let layer = FakeLayer::new(&format!("files of {}", recipe.label), 1000);
            layer.with_files(&pairs(&recipe.files)).with_links(&pairs(&recipe.links))
        });
        let layers = layers.chain(more).collect();
        let image = FakeImage::of_layers(&recipe.label, layers);
        let image = if recipe.indexed { image.in_index() } else { image };
        for host in [FAST, SLOW] {
            self.0.registry().publish(&format!("{host}/{name}").parse::<ImageName>().unwrap(), &image);
        }
        Published {
            resolved: image.resolved(),
            manifest: image.manifest_digest(),
            blobs: image.layers.iter().map(|layer| layer.blob).collect(),
            diff_ids: image.diff_ids(),
        }
    }

    fn lose_blob(&self, blob: Digest) {
        self.0.registry().lose_blob(blob);
    }

    fn fetched(&self) -> Vec<Digest> {
        self.0.registry().served()
    }

    async fn create_container(&self, from: &Reference) -> String {
        self.0.create_container("eager_euler", from, ContainerState::Created)
    }

    async fn remove_container(&self, id: &str) {
        self.0.remove_container(id);
    }
}

#[tokio::test]
async fn the_fake_with_the_classic_store_conforms() {
    suite(&OnFake::new(StoreKind::Graphdriver)).await;
}

#[tokio::test]
async fn the_fake_with_the_containerd_store_conforms() {
    suite(&OnFake::new(StoreKind::Containerd)).await;
}
