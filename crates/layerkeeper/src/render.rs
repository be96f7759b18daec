//! What people read: facts in, text out. Pure, so that every page of it is a golden file.

pub mod amount;
pub mod changes;
pub mod csv;
pub mod doctor;
pub mod estimate;
pub mod history;
pub mod markdown;
pub mod pin;
pub mod prune;
pub mod public;
pub mod report;
pub mod servers;
pub mod state;
pub mod status;
pub mod table;
pub mod why;

/// How wide a line may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// A terminal with so many columns: what is longer is cut.
    Columns(usize),
    /// A file or a pipe: nothing is cut.
    Unbounded,
}
