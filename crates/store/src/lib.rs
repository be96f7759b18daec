//! Everything durable, in one SQLite file.

pub mod record;
