//! Which tags were seen on an engine, since when, and when a container last held them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use layerkeeper_core::{ImageId, ImageName, Timestamp};
use rusqlite::Connection;

use layerkeeper_core::plan::NameHistory;

use crate::column::{maybe_time, number, parsed, signed, time};
use crate::deploys::next_in_sequence;
use crate::engine::engine_row;
use crate::error::{Fault, StoreError};
use crate::store::Store;

/// A tag that is on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which.
    pub name: ImageName,
    /// What it stands for.
    pub image: ImageId,
    /// A container in whatever state holds that.
    pub held: bool,
}

impl Store {
    /// Takes down one full look at an engine: every tag on it. What is not among `seen` is gone from then on. A name that
    /// comes back, or stands for another image, keeps its place, but its stay starts anew.
    pub async fn observe_names(&self, instance: &str, seen: Vec<Sighting>, now: Timestamp) -> Result<(), StoreError> {
        let instance = instance.to_owned();
        self.write(move |connection| observe(connection, &instance, &seen, now)).await
    }

    /// We removed this tag: should somebody make it again before the next look, its stay starts anew.
    pub async fn name_went(&self, instance: &str, name: &ImageName, now: Timestamp) -> Result<(), StoreError> {
        let (instance, name) = (instance.to_owned(), name.to_string());
        self.write(move |connection| {
            connection
                .prepare_cached(
                    "UPDATE names SET gone = ?3
                     WHERE engine = (SELECT id FROM engines WHERE instance = ?1) AND image = ?2 AND gone IS NULL",
                )?
                .execute((instance, name, now.0))?;
            Ok(())
        })
        .await
    }

    /// Every tag that is on this engine, as of the last look or deploy.
    pub async fn name_history(&self, instance: &str) -> Result<BTreeMap<ImageName, NameHistory>, StoreError> {
        let instance = instance.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT names.image, sighting, names.first_seen, last_held, deploys.seq AS deploy, deploys.at AS at
                 FROM names JOIN engines ON engines.id = names.engine
                 LEFT JOIN deploys ON deploys.seq = (SELECT max(seq) FROM deploys WHERE image = names.image)
                 WHERE instance = ?1 AND gone IS NULL",
            )?;
            let rows = statement.query_map([instance], |row| {
                let deployed = match maybe_time(row, "at")? {
                    Some(at) => Some((number(row, "deploy")?, at)),
                    None => None,
                };
                let history = NameHistory {
                    place: deployed.map_or(number(row, "sighting")?, |(seq, _)| seq),
                    deployed,
                    first_seen: time(row, "first_seen")?,
                    last_held: maybe_time(row, "last_held")?,
                };
                Ok((parsed(row, "image")?, history))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

fn observe(connection: &Connection, instance: &str, seen: &[Sighting], now: Timestamp) -> Result<(), Fault> {
    let engine = engine_row(connection, instance, now)?;
    // only what changed is written: most looks find what the last one found
    let mut known = known_names(connection, engine)?;
    let mut place = None;
    let mut come = connection.prepare_cached(
        "INSERT INTO names (engine, image, sighting, first_seen, image_id) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (engine, image)
         DO UPDATE SET first_seen = excluded.first_seen, image_id = excluded.image_id, gone = NULL",
    )?;
    let mut learn = connection.prepare_cached("UPDATE names SET image_id = ?3 WHERE engine = ?1 AND image = ?2")?;
    let mut hold = connection.prepare_cached("UPDATE names SET last_held = ?3 WHERE engine = ?1 AND image = ?2")?;
    for Sighting { name, image: id, held } in seen {
        let (image, id) = (name.to_string(), id.to_string());
        match known.remove(&image) {
            Some(Stay { here: true, image_id: Some(before), .. }) if before == id => {}
            Some(Stay { here: true, image_id: None, .. }) => drop(learn.execute((engine, &image, &id))?),
            Some(Stay { sighting, .. }) => drop(come.execute((engine, &image, sighting, now.0, &id))?),
            None => {
                let shared = match place {
                    Some(shared) => shared,
                    None => *place.insert(signed(next_in_sequence(connection)?)),
                };
                come.execute((engine, &image, shared, now.0, &id))?;
            }
        }
        if *held {
            hold.execute((engine, &image, now.0))?;
        }
    }
    let mut go = connection.prepare_cached("UPDATE names SET gone = ?3 WHERE engine = ?1 AND image = ?2")?;
    for image in known.into_iter().filter(|(_, stay)| stay.here).map(|(image, _)| image) {
        go.execute((engine, image, now.0))?;
    }
    Ok(())
}

struct Stay {
    sighting: i64,
    image_id: Option<String>,
    here: bool,
}

fn known_names(connection: &Connection, engine: i64) -> Result<HashMap<String, Stay>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT image, sighting, image_id, gone IS NULL AS here FROM names WHERE engine = ?1")?;
    let rows = statement.query_map([engine], |row| {
        let stay = Stay { sighting: row.get("sighting")?, image_id: row.get("image_id")?, here: row.get("here")? };
        Ok((row.get("image")?, stay))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
