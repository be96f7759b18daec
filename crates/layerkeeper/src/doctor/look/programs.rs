//! Containers that clean up, or belong to something that does.

use std::collections::BTreeSet;

use layerkeeper_core::{Container, ContainerState, Inventory};

use crate::doctor::cleaners::act::{Act, program};
use crate::doctor::cleaners::times::Times;
use crate::doctor::cleaners::{Cleaner, Kind, Schedule};

/// Coolify's setting for each server, unless it was changed there.
const COOLIFY: &str = "0 0 * * *";

/// Those that run. One for each kind: Coolify comes as several containers.
pub fn look(inventory: &Inventory) -> Vec<Cleaner> {
    let mut seen = BTreeSet::new();
    inventory.containers.iter().filter_map(of).filter(|cleaner| seen.insert(format!("{:?}", cleaner.act))).collect()
}

fn of(container: &Container) -> Option<Cleaner> {
    if matches!(container.state, ContainerState::Created | ContainerState::Exited | ContainerState::Dead) {
        return None;
    }
    let image = container.created_from.as_ref().map(ToString::to_string);
    // a container may be named anything, so its image goes first
    let act = image.as_deref().and_then(program).or_else(|| program(&container.name))?;
    let schedule = match act {
        Act::Prune(_) => Schedule { written: COOLIFY.to_owned(), times: Times::cron(COOLIFY) },
        _ => Schedule::default(),
    };
    let command = image.unwrap_or_else(|| container.name.clone());
    Some(Cleaner {
        kind: Kind::Container,
        place: container.name.clone(),
        through: None,
        command,
        alone: true,
        act,
        schedule,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;

    fn container(name: &str, image: &str, state: ContainerState) -> Container {
        let created_from = Some(image.parse().unwrap());
        Container { name: name.to_owned(), created_from, ..sample::container("x:1", state) }
    }

    #[test]
    fn running_cleaners_are_told_once_each() {
        let mut inventory = sample::inventory();
        inventory.containers.extend([
            container("updates", "containrrr/watchtower:latest", ContainerState::Running),
            container("old", "spotify/docker-gc:latest", ContainerState::Exited),
            container("coolify-proxy", "traefik:v3.1", ContainerState::Running),
            container("coolify-sentinel", "ghcr.io/coollabsio/sentinel:1", ContainerState::Running),
        ]);
        let found = look(&inventory);
        let places: Vec<&str> = found.iter().map(|cleaner| cleaner.place.as_str()).collect();
        assert_eq!(places, ["updates", "coolify-proxy"]);
        assert_eq!(found[1].schedule.to_string(), "every day at 00:00 (0 0 * * *)");
    }
}
