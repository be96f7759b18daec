//! What the worker asks of a registry, as a trait: the real client is one implementation, the model tests' another.

use async_trait::async_trait;
use layerkeeper_core::{Platform, Reference};
use layerkeeper_engine::Login;
use layerkeeper_registry::{Client, Error, Fetched, Resolved};

/// A registry, or many.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// What the reference resolves to now (HEAD).
    async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error>;

    /// The same where the manifest will be wanted in any case (GET): [`Registry::image`] then asks for less.
    async fn resolve_by_get(&self, reference: &Reference) -> Result<Resolved, Error> {
        self.resolve(reference).await
    }

    /// Manifest and config of one platform's image.
    async fn image(&self, reference: &Reference, platform: &Platform) -> Result<Fetched, Error>;

    /// Credentials for the engine's own pull, read anew; a credential helper may take its time.
    async fn login(&self, registry: &str) -> Result<Option<Login>, Error>;
}

#[async_trait]
impl Registry for Client {
    async fn resolve(&self, reference: &Reference) -> Result<Resolved, Error> {
        Self::resolve(self, reference).await
    }

    async fn resolve_by_get(&self, reference: &Reference) -> Result<Resolved, Error> {
        Self::resolve_by_get(self, reference).await
    }

    async fn image(&self, reference: &Reference, platform: &Platform) -> Result<Fetched, Error> {
        Self::image(self, reference, platform).await
    }

    async fn login(&self, registry: &str) -> Result<Option<Login>, Error> {
        Ok(self.credential(registry).await?.map(|credential| Login {
            username: credential.username,
            password: credential.password.expose().to_owned(),
            identity_token: credential.identity_token.map(|token| token.expose().to_owned()),
            registry_token: credential.registry_token.map(|token| token.expose().to_owned()),
            server_address: credential.server_address,
        }))
    }
}
