//! `GET /info`: how the engine is set up, as far as somebody who looks after it wants to know. Nothing is decided by it.

use bollard::models::{LocalNodeState, SystemInfo};

use super::Docker;
use crate::EngineError;

/// How an engine is set up. What it does not say is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Do containers go on while the engine is down (`live-restore`)?
    pub live_restore: Option<bool>,
    /// Is it part of a swarm, which rules out `live-restore`?
    pub swarm: bool,
}

impl Docker {
    /// Asks it.
    ///
    /// # Errors
    /// As every question to an engine.
    pub async fn facts(&self) -> Result<Facts, EngineError> {
        Ok(read(&self.session.quick(|client| async move { client.info().await }).await?))
    }
}

fn read(info: &SystemInfo) -> Facts {
    let state = info.swarm.as_ref().and_then(|swarm| swarm.local_node_state);
    Facts { live_restore: info.live_restore_enabled, swarm: state == Some(LocalNodeState::ACTIVE) }
}

#[cfg(test)]
mod tests {
    use bollard::models::SwarmInfo;

    use super::*;

    #[test]
    fn what_the_engine_does_not_say_is_not_known() {
        assert_eq!(read(&SystemInfo::default()), Facts::default());
        let swarm = Some(SwarmInfo { local_node_state: Some(LocalNodeState::ACTIVE), ..SwarmInfo::default() });
        let info = SystemInfo { live_restore_enabled: Some(false), swarm, ..SystemInfo::default() };
        assert_eq!(read(&info), Facts { live_restore: Some(false), swarm: true });
    }
}
