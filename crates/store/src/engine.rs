//! The engines that were here, and whether pruning is blocked at the moment.

use layerkeeper_core::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use crate::column::{json, maybe_time, time};
use crate::error::{Fault, StoreError};
use crate::store::Store;

/// An engine instance as it was last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSeen {
    /// `EngineInfo::instance`.
    pub instance: String,
    /// What it said of itself, as the caller put it; null where only its name was recorded.
    pub info: serde_json::Value,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// When a deploy last succeeded there.
    pub deployed_at: Option<Timestamp>,
}

/// Why nothing may be pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneGate {
    /// Since when.
    pub since: Timestamp,
    /// In a sentence.
    pub reason: String,
}

impl Store {
    /// Takes down a look at the engine.
    pub async fn save_engine(&self, instance: &str, info: serde_json::Value, now: Timestamp) -> Result<(), StoreError> {
        let instance = instance.to_owned();
        self.write(move |connection| {
            let engine = engine_row(connection, &instance, now)?;
            let mut statement = connection.prepare_cached("UPDATE engines SET info = ?2 WHERE id = ?1")?;
            statement.execute((engine, info.to_string()))?;
            Ok(())
        })
        .await
    }

    /// A word of its own for this database, the same for as long as it lives: 16 hexadecimal digits.
    pub async fn owner(&self) -> Result<String, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = 'owner'")?;
            Ok(statement.query_row([], |row| row.get::<_, i64>(0).map(|value| format!("{:016x}", value as u64)))?)
        })
        .await
    }

    /// The engine seen last: another instance than now means a new data root or a flipped image store.
    pub async fn last_engine(&self) -> Result<Option<EngineSeen>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT * FROM engines ORDER BY last_seen DESC, id DESC LIMIT 1";
            let mut statement = connection.prepare_cached(sql)?;
            let seen = statement.query_row([], |row| {
                Ok(EngineSeen {
                    instance: row.get("instance")?,
                    info: json(row, "info")?.unwrap_or_default(),
                    first_seen: time(row, "first_seen")?,
                    last_seen: time(row, "last_seen")?,
                    deployed_at: maybe_time(row, "deployed_at")?,
                })
            });
            Ok(seen.optional()?)
        })
        .await
    }

    /// Blocks pruning, or opens the way again. Blocking it anew keeps the older `since`.
    pub async fn set_prune_gate(&self, gate: Option<PruneGate>) -> Result<(), StoreError> {
        self.write(move |connection| {
            match gate {
                Some(gate) => connection
                    .prepare_cached(
                        "INSERT INTO prune_gate (only, since, reason) VALUES (1, ?1, ?2)
                         ON CONFLICT (only) DO UPDATE SET reason = excluded.reason",
                    )?
                    .execute((gate.since.0, gate.reason))?,
                None => connection.prepare_cached("DELETE FROM prune_gate")?.execute([])?,
            };
            Ok(())
        })
        .await
    }

    /// Why nothing may be pruned; none when it may.
    pub async fn prune_gate(&self) -> Result<Option<PruneGate>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT since, reason FROM prune_gate")?;
            let gate =
                statement.query_row([], |row| Ok(PruneGate { since: time(row, "since")?, reason: row.get("reason")? }));
            Ok(gate.optional()?)
        })
        .await
    }
}

/// The row of an engine instance, made or refreshed.
pub(crate) fn engine_row(connection: &Connection, instance: &str, now: Timestamp) -> Result<i64, Fault> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO engines (instance, first_seen, last_seen) VALUES (?1, ?2, ?2)
         ON CONFLICT (instance) DO UPDATE SET last_seen = excluded.last_seen RETURNING id",
    )?;
    Ok(statement.query_row((instance, now.0), |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ENGINE, store};

    #[tokio::test]
    async fn the_engine_seen_last_is_told() {
        let store = store();
        assert_eq!(store.last_engine().await.unwrap(), None);
        let info = serde_json::json!({"version": "20.10"});
        store.save_engine(ENGINE, info.clone(), Timestamp(1)).await.unwrap();
        store.save_engine("other/containerd", serde_json::json!({}), Timestamp(2)).await.unwrap();
        assert_eq!(store.last_engine().await.unwrap().map(|seen| seen.instance).as_deref(), Some("other/containerd"));
        store.save_engine(ENGINE, info.clone(), Timestamp(3)).await.unwrap();
        let seen = EngineSeen {
            instance: ENGINE.to_owned(),
            info,
            first_seen: Timestamp(1),
            last_seen: Timestamp(3),
            deployed_at: None,
        };
        assert_eq!(store.last_engine().await.unwrap(), Some(seen));
    }

    #[tokio::test]
    async fn the_gate_keeps_the_older_instant() {
        let store = store();
        let gate = |since, reason: &str| PruneGate { since: Timestamp(since), reason: reason.to_owned() };
        store.set_prune_gate(Some(gate(1, "reconnected"))).await.unwrap();
        store.set_prune_gate(Some(gate(5, "another engine"))).await.unwrap();
        assert_eq!(store.prune_gate().await.unwrap(), Some(gate(1, "another engine")));
        store.set_prune_gate(None).await.unwrap();
        assert_eq!(store.prune_gate().await.unwrap(), None);
    }
}
