//! `GET /events`, images and containers only, reduced to what wakes somebody.

use std::collections::HashMap;

use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{StreamExt, future};

use super::instant;
use super::session::Session;
use crate::{EngineError, EngineEvent, EventStream};

/// What the engine is asked for. A container's health checks alone are several events a minute, so the choice is the
/// engine's, not ours.
const ACTIONS: [&str; 14] = [
    "untag", "delete", "prune", "pull", "tag", "load", "import", "create", "start", "die", "destroy", "pause",
    "unpause", "rename",
];

/// Listens from now on: from the engine's own clock at the time of this call, for the request itself goes out only when
/// the stream is polled.
pub(super) async fn listen(session: &Session) -> Result<EventStream, EngineError> {
    let now = session.quick(|client| async move { client.info().await }).await?.system_time;
    let now = now.as_deref().and_then(instant::parse);
    let now = now.ok_or_else(|| EngineError::Malformed("GET /info: no SystemTime".to_owned()))?;
    let filters = HashMap::from([("type", vec!["image", "container"]), ("event", ACTIONS.to_vec())]);
    let since = format!("{}.{:03}000000", now.seconds(), now.0.rem_euclid(1000));
    let options = EventsOptionsBuilder::new().since(&since).filters(&filters).build();
    let client = session.client().await?;
    let host = session.host().to_owned();
    let alive = session.listens();
    let events = client.events(Some(options)).filter_map(move |item| {
        let _held = &alive;
        future::ready(match item {
            Ok(message) => read(&message).map(Ok),
            // the caller must connect and look anew whatever it was
            Err(error) => Some(Err(EngineError::Unreachable { host: host.clone(), cause: format!("events: {error}") })),
        })
    });
    Ok(events.boxed())
}

fn read(message: &EventMessage) -> Option<EngineEvent> {
    let action = message.action.as_deref()?;
    let actor = || message.actor.as_ref().and_then(|actor| actor.id.clone()).unwrap_or_default();
    match (message.typ?, action) {
        (EventMessageTypeEnum::CONTAINER, _) => Some(EngineEvent::Container),
        (EventMessageTypeEnum::IMAGE, "untag") => Some(EngineEvent::Untag { id: actor() }),
        (EventMessageTypeEnum::IMAGE, "delete") => Some(EngineEvent::Delete { id: actor() }),
        (EventMessageTypeEnum::IMAGE, "prune") => Some(EngineEvent::Prune),
        (EventMessageTypeEnum::IMAGE, "pull" | "tag" | "load" | "import") => {
            Some(EngineEvent::Appeared { name: actor() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::EventActor;

    use super::*;

    fn message(typ: EventMessageTypeEnum, action: &str) -> EventMessage {
        let actor = EventActor { id: Some("sha256:00".to_owned()), ..EventActor::default() };
        EventMessage { typ: Some(typ), action: Some(action.to_owned()), actor: Some(actor), ..EventMessage::default() }
    }

    #[test]
    fn events_are_reduced_to_what_wakes() {
        let read = |typ, action| read(&message(typ, action));
        assert_eq!(read(EventMessageTypeEnum::IMAGE, "untag"), Some(EngineEvent::Untag { id: "sha256:00".to_owned() }));
        assert_eq!(
            read(EventMessageTypeEnum::IMAGE, "delete"),
            Some(EngineEvent::Delete { id: "sha256:00".to_owned() })
        );
        assert_eq!(read(EventMessageTypeEnum::IMAGE, "prune"), Some(EngineEvent::Prune));
        assert_eq!(
            read(EventMessageTypeEnum::IMAGE, "tag"),
            Some(EngineEvent::Appeared { name: "sha256:00".to_owned() })
        );
        assert_eq!(read(EventMessageTypeEnum::IMAGE, "save"), None);
        assert_eq!(read(EventMessageTypeEnum::CONTAINER, "prune"), Some(EngineEvent::Container));
    }
}
