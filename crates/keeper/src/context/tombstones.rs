//! Images that are not to be brought back, in memory and in the store alike.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use layerkeeper_core::ImageName;
use layerkeeper_store::{StoreError, Tombstone};

use crate::context::Context;

impl Context {
    /// What is not to be brought back.
    pub fn buried(&self) -> MutexGuard<'_, BTreeMap<ImageName, Tombstone>> {
        self.tombstones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image is no longer kept or healed, durably.
    pub async fn bury(&self, image: &ImageName, who: String, reason: String) -> Result<(), StoreError> {
        let tombstone = Tombstone { image: image.clone(), who, reason, at: self.now() };
        self.store.bury(tombstone.clone()).await?;
        self.buried().insert(image.clone(), tombstone);
        Ok(())
    }

    /// It did not go: what was known of it before it was buried counts again, durably.
    pub async fn unbury(&self, image: &ImageName, earlier: Option<Tombstone>) -> Result<(), StoreError> {
        match earlier {
            Some(tombstone) => {
                self.store.bury(tombstone.clone()).await?;
                self.buried().insert(image.clone(), tombstone);
            }
            None => {
                self.store.lift(image).await?;
                self.buried().remove(image);
            }
        }
        Ok(())
    }

    /// The image is kept and healed again, durably.
    pub async fn lift(&self, image: &ImageName) -> Result<(), StoreError> {
        if self.buried().contains_key(image) {
            self.store.lift(image).await?;
            self.buried().remove(image);
            tracing::info!(%image, "is no longer forgotten");
        }
        Ok(())
    }
}
