//! The engine: does it answer, and is its store the one that holds the images?

use layerkeeper_core::{EngineInfo, StoreKind};

use super::finding::{Finding, Level};
use crate::render::amount::count;

/// What was seen of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineSeen {
    /// It answers.
    Up {
        /// What it says of itself.
        info: EngineInfo,
        /// How many images it holds.
        images: usize,
        /// How many containers.
        containers: usize,
        /// Its data root still holds the images of the other store, which this one does not show.
        other_store: bool,
    },
    /// It does not.
    Down {
        /// Why.
        cause: String,
    },
}

/// Judges it; `host` is where it should be.
pub fn judge(seen: &EngineSeen, host: &str) -> Vec<Finding> {
    match seen {
        EngineSeen::Down { cause } => vec![down(cause, host)],
        EngineSeen::Up { info, images, containers, other_store } => {
            let mut found = vec![Finding::ok(
                "engine.ok",
                format!(
                    "Docker Engine {} answers at {host}: {} store ({}), {}, {}",
                    info.version,
                    info.store,
                    info.driver,
                    count(*images, "image"),
                    count(*containers, "container")
                ),
            )];
            if *other_store {
                found.push(flipped(info));
            }
            found
        }
    }
}

fn down(cause: &str, host: &str) -> Finding {
    if cause.contains("ermission denied") {
        let what = format!("the engine's socket {host} may not be used by this user");
        return Finding::new(Level::Problem, "engine.denied", what)
            .why("Without the engine nothing of what it holds can be looked at; the daemon's own user may have the right")
            .mend("sudo layerkeeper doctor");
    }
    Finding::new(Level::Problem, "engine.unreachable", format!("the engine at {host} does not answer: {cause}"))
        .why("Nothing can be pulled, kept or deployed; accepted deploys wait until it is back")
        .mend("sudo systemctl start docker; where it listens elsewhere, set [engine] host or DOCKER_HOST")
}

fn flipped(info: &EngineInfo) -> Finding {
    let other = match info.store {
        StoreKind::Containerd => StoreKind::Graphdriver,
        StoreKind::Graphdriver => StoreKind::Containerd,
    };
    let what = format!(
        "the engine runs the {} store, and {} still holds images of the {other} store, which it does not show",
        info.store, info.data_root
    );
    Finding::new(Level::Warning, "engine.store", what)
        .why("After a change of the store every image is pulled anew, and the old ones go on using the disk")
        .mend(format!(
            "sudo du -sh {}/overlay2 {0}/image tells how much; \"features\": {{\"containerd-snapshotter\": false}} in \
             /etc/docker/daemon.json brings it back. To free it, go back, take what is still wanted out of its containers, \
             remove them and its images there, and change the store again: what those containers wrote is in overlay2 \
             too, and whoever removes that loses it for good",
            info.data_root
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sample;

    #[test]
    fn an_engine_that_answers_is_told_with_its_store() {
        let up = |other_store| EngineSeen::Up {
            info: sample::engine(StoreKind::Containerd),
            images: 14,
            containers: 1,
            other_store,
        };
        let found = judge(&up(false), "unix:///run/docker.sock");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].what,
            "Docker Engine 26.1.5 answers at unix:///run/docker.sock: containerd store (overlayfs), 14 images, 1 container"
        );
        let found = judge(&up(true), "x");
        assert_eq!((found[1].id, found[1].level), ("engine.store", Level::Warning));
        assert!(found[1].mend.contains("what those containers wrote is in overlay2 too"), "{}", found[1].mend);
    }

    #[test]
    fn an_engine_that_is_away_and_one_that_may_not_be_asked_are_told_apart() {
        for (cause, id) in [
            ("Connection refused (os error 111)", "engine.unreachable"),
            ("Permission denied (os error 13)", "engine.denied"),
        ] {
            let found = judge(&EngineSeen::Down { cause: cause.to_owned() }, "unix:///run/docker.sock");
            assert_eq!((found[0].id, found[0].level), (id, Level::Problem));
            assert!(found[0].what.contains("unix:///run/docker.sock") && !found[0].mend.is_empty());
        }
    }
}
