//! What the two clocks showed at the last look, so that a jump is seen, and doubted, across a restart.

use std::time::Duration;

use layerkeeper_core::Timestamp;
use rusqlite::OptionalExtension;

use crate::column::{signed, time};
use crate::error::StoreError;
use crate::store::Store;

/// Wall clock and boot time at one instant, and the last jump between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockRecord {
    /// Of which boot (`/proc/sys/kernel/random/boot_id`): boot times of two boots cannot be compared.
    pub boot_id: String,
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since boot.
    pub boot: Duration,
    /// The boot time at which the wall clock was last seen to have jumped, and by how much.
    pub jump: Option<(Duration, Duration)>,
}

impl Store {
    /// Replaces what the clocks showed.
    pub async fn save_clock(&self, clock: ClockRecord) -> Result<(), StoreError> {
        self.write(move |connection| {
            let millis = |time: Duration| signed(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO clock (only, boot_id, wall, boot, jumped_at, jumped_by)
                     VALUES (1, ?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((
                    clock.boot_id,
                    clock.wall.0,
                    millis(clock.boot),
                    clock.jump.map(|(at, _)| millis(at)),
                    clock.jump.map(|(_, by)| millis(by)),
                ))?;
            Ok(())
        })
        .await
    }

    /// What the clocks showed last.
    pub async fn clock(&self) -> Result<Option<ClockRecord>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM clock")?;
            let millis = |value: i64| Duration::from_millis(u64::try_from(value).unwrap_or(0));
            let clock = statement.query_row([], |row| {
                let at: Option<i64> = row.get("jumped_at")?;
                let by: Option<i64> = row.get("jumped_by")?;
                Ok(ClockRecord {
                    boot_id: row.get("boot_id")?,
                    wall: time(row, "wall")?,
                    boot: millis(row.get("boot")?),
                    jump: at.zip(by).map(|(at, by)| (millis(at), millis(by))),
                })
            });
            Ok(clock.optional()?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    #[tokio::test]
    async fn the_last_look_at_the_clocks_is_kept() {
        let store = store();
        assert_eq!(store.clock().await.unwrap(), None);
        let mut clock = ClockRecord {
            boot_id: "a".to_owned(),
            wall: Timestamp(-5),
            boot: Duration::from_millis(7),
            jump: Some((Duration::from_millis(6), Duration::from_secs(86_400))),
        };
        store.save_clock(clock.clone()).await.unwrap();
        assert_eq!(store.clock().await.unwrap(), Some(clock.clone()));
        clock.jump = None;
        store.save_clock(clock.clone()).await.unwrap();
        assert_eq!(store.clock().await.unwrap(), Some(clock));
    }
}
