//! Events wake; nothing more is asked of them.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::{Case, ok};
use crate::{EngineEvent, EventStream};

/// Within this an event comes, or it does not come.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn all(case: &Case<'_>) {
    let (name, _) = case.publish("events/app:t", &["a"]).await;
    let other = case.name("events/app:other");
    let mut events = ok(case.engine().events().await, "events");
    // asked for before anything happens, yet polled only after: what came in between must not be lost
    case.pull_tag(&name).await;
    until(&mut events, "a pull", |event| matches!(event, EngineEvent::Appeared { .. })).await;
    case.tag(&name.to_reference(), &other).await;
    until(&mut events, "a tag", |event| matches!(event, EngineEvent::Appeared { .. })).await;
    let id = case.subject.create_container(&name.to_reference()).await;
    until(&mut events, "a container", |event| matches!(event, EngineEvent::Container)).await;
    case.subject.remove_container(&id).await;
    until(&mut events, "a container's end", |event| matches!(event, EngineEvent::Container)).await;
    case.remove(&other.to_reference()).await;
    until(&mut events, "an untag", |event| matches!(event, EngineEvent::Untag { .. })).await;
    case.remove(&name.to_reference()).await;
    until(&mut events, "a delete", |event| matches!(event, EngineEvent::Delete { .. })).await;
}

async fn until(events: &mut EventStream, what: &str, wanted: impl Fn(&EngineEvent) -> bool) {
    let wait = async {
        while let Some(event) = events.next().await {
            if wanted(&ok(event, what)) {
                return true;
            }
        }
        false
    };
    match timeout(LIMIT, wait).await {
        Ok(true) => {}
        Ok(false) => panic!("the events ended before one told of {what}"),
        Err(_) => panic!("no event told of {what}"),
    }
}
