//! `GET /containers/json?all=true`: who holds which image.

use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use layerkeeper_core::{Container, ContainerState, ImageName};

use super::session::Session;
use crate::EngineError;

/// All containers in every state.
pub(super) async fn all(session: &Session) -> Result<Vec<Container>, EngineError> {
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let rows = session
        .quick(|client| {
            let options = options.clone();
            async move { client.list_containers(Some(options)).await }
        })
        .await?;
    rows.into_iter().map(read).collect()
}

fn read(row: ContainerSummary) -> Result<Container, EngineError> {
    let id = row.id.filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| EngineError::Malformed("GET /containers/json: a container without Id".to_owned()))?;
    let image = row.image.unwrap_or_default();
    let image_id = row.image_id.unwrap_or_default();
    let created_from = created_from(&image, &image_id);
    let name = row.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    let image = image_id.parse().ok();
    if image.is_none() && created_from.is_none() {
        // it holds some image, and nobody could say which: everything that removes must stop here
        return Err(EngineError::Malformed(format!("GET /containers/json: container {id} names no image")));
    }
    Ok(Container {
        name: name.trim_start_matches('/').to_owned(),
        state: row.state.map_or(ContainerState::Other, |state| ContainerState::from(state.as_ref())),
        image,
        created_from,
        id,
    })
}

/// The name that a container was created from. The engine shows the image's id, whole or shortened, instead of a name
/// that has moved on to another image; a name without a tag means `latest`.
fn created_from(image: &str, image_id: &str) -> Option<ImageName> {
    let bare = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id = bare.len() == 64 && bare.bytes().all(|c| c.is_ascii_hexdigit());
    let hex = image_id.strip_prefix("sha256:").unwrap_or(image_id);
    if image.contains('@') || is_id || bare.len() >= 12 && hex.starts_with(bare) {
        return None;
    }
    image.parse().or_else(|_| format!("{image}:latest").parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn only_a_name_is_a_name() {
        let name = |image: &str| created_from(image, ID).map(|name| name.to_string());
        assert_eq!(name("127.0.0.1:5000/a/b:v1").as_deref(), Some("127.0.0.1:5000/a/b:v1"));
        assert_eq!(name("nginx").as_deref(), Some("docker.io/library/nginx:latest"));
        assert_eq!(name("127.0.0.1:5000/a").as_deref(), Some("127.0.0.1:5000/a:latest"));
        assert_eq!(name(ID), None);
        assert_eq!(name("0123456789ab"), None);
        assert_eq!(name(&format!("127.0.0.1:5000/a@{ID}")), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn a_container_that_names_no_image_is_malformed() {
        let row = ContainerSummary { id: Some("12".to_owned()), ..ContainerSummary::default() };
        assert!(matches!(read(row), Err(EngineError::Malformed(_))));
    }
}
