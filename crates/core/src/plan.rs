//! Plans: what is to be pulled and removed, what stays, and why. Immutable, printable, and made without side effects.

pub mod deploy;
pub mod heal;
pub mod history;
pub mod keep;
pub mod prune;
pub mod room;
pub mod space;
pub mod transfer;

pub use deploy::{Arrival, Naming, arrival, naming};
pub use heal::{Cause, HealQuestion, Heard, Loss, Told, losses};
pub use history::{MadeName, NameHistory, SupersededDigest};
pub use keep::{Finding, KeepVerdict, Remote, judge_kept};
pub use prune::{
    KeepReason, Kept, PressurePlan, PressureQuestion, PrunePlan, PruneQuestion, Removal, RemovalReason, plan_pressure,
    plan_prune, space_of,
};
pub use transfer::{Link, PAYS, TransferChoice, TransferMode, TransferQuestion, Way, choose_transfer};
