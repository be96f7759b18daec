//! Why a job did not get what it wanted, with everything that decides what becomes of it.

use std::time::Duration;

use layerkeeper_core::{Bytes, Digest, ImageName, Quarter, StoreKind, Template};
use layerkeeper_engine::EngineError;
use layerkeeper_registry::Error as RegistryError;
use layerkeeper_store::StoreError;
use layerkeeper_store::record::ErrorRecord;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The registry's answer, or its silence.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The engine's answer, or its silence.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What came is not what was asked for.
    #[error("what came is not what was asked for: {0}")]
    Unverified(String),
    /// The disk ran full in the middle of a pull.
    #[error("{cause}. Of {moved} that had come, {}", leftovers(*.store))]
    DiskFull {
        /// The engine's words.
        cause: EngineError,
        /// Layer bytes of this attempt.
        moved: Bytes,
        /// What becomes of them depends on it.
        store: StoreKind,
    },
    /// The engine answers, and its pull neither downloads nor extracts anything.
    #[error(
        "the pull stalled: nothing was downloaded and nothing extracted for {} s, while the engine answers",
        .0.as_secs()
    )]
    Stalled(Duration),
    /// The policy forbids it.
    #[error("{0}")]
    Refused(String),
    /// It would not fit, and nothing that may go makes the room.
    #[error("{detail}")]
    NoRoom {
        /// Sizes, for everybody.
        numbers: String,
        /// For the operator, with paths and what to do.
        detail: String,
    },
    /// It would move more than the repository's `download_limit`.
    #[error(
        "{image} would move {fetch}, more than its download_limit of {limit}. {reasons}. What to do about each: \
         `layerkeeper plan {image}`. To deploy it all the same: \"override\": \"budget\" in the webhook's body, or \
         `layerkeeper deploy {image} --override budget`"
    )]
    OverLimit {
        /// What was to be deployed.
        image: Box<ImageName>,
        /// What would surely move.
        fetch: Bytes,
        /// What may.
        limit: Bytes,
        /// The largest layers and why they move.
        reasons: String,
    },
    /// A kept image does not hold what is expected of it.
    #[error(
        "{digest} is not called kept as {image}, for it is not what `expect` in its [[keep]] block says: {}. Build and \
         push it with what is missing, or change `expect`",
        unmet.join("; ")
    )]
    Unmet {
        /// Which.
        image: Box<ImageName>,
        /// What the name does not move to.
        digest: Digest,
        /// What is wrong, each in a sentence.
        unmet: Vec<String>,
    },
    /// Making the name here could leave a container's image unprotected.
    #[error(
        "container {container} was created from {name}, and the registry's tag does not show {digest}; moving the name \
         locally could leave the container's image unprotected. Remove the container or deploy under another tag"
    )]
    NameInUse {
        /// The name.
        name: Box<ImageName>,
        /// What it was to stand for.
        digest: Digest,
        /// Who was created from it.
        container: String,
    },
    /// A series of which the registry has no quarter that may be wanted.
    #[error("the registry has no {template} of any quarter from {oldest} to {newest}")]
    NoQuarter {
        /// Its name in every quarter.
        template: Box<Template>,
        /// The oldest that was looked for.
        oldest: Quarter,
        /// The newest.
        newest: Quarter,
    },
    /// Neither a digest was given nor could anybody be asked for it.
    #[error("no digest was given and the registry cannot be asked for one ({cause}); {here}")]
    NoDigest {
        /// Why not.
        cause: String,
        /// What is here, and the command that accepts it.
        here: String,
    },
}

/// What a pull that ran out of room leaves on the disk (measured on 20.10 and 26.1).
fn leftovers(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Graphdriver => "the engine threw it away: layers that it had unpacked, too",
        StoreKind::Containerd => {
            "the engine keeps it for up to 8 hours, under a lease that no command lists; a pull of the same image goes on \
             from there, and a restart of the engine does not free it"
        }
    }
}

impl JobError {
    /// A stable word to branch on.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Registry(error) => match error {
                RegistryError::NotFound { .. } => "not_found",
                RegistryError::Missing { .. } => "registry_damaged",
                RegistryError::Unauthorized { .. } | RegistryError::Forbidden { .. } => "access_denied",
                RegistryError::Credentials { .. } => "credentials",
                RegistryError::TooManyRequests { .. } => "too_many_requests",
                RegistryError::Server { .. } => "registry_error",
                RegistryError::Unreachable { .. } => "registry_unreachable",
                RegistryError::DigestMismatch { .. } => "digest_mismatch",
                RegistryError::NotAnImage { .. } => "not_an_image",
                RegistryError::NoPlatform { .. } => "no_platform",
                RegistryError::Truncated { .. } | RegistryError::TooLarge { .. } | RegistryError::Malformed { .. } => {
                    "registry_malformed"
                }
            },
            Self::Engine(error) => match error {
                EngineError::Unreachable { .. } => "engine_unreachable",
                EngineError::NotFound(_) => "not_found",
                EngineError::BlobMissing(_) => "registry_damaged",
                EngineError::Conflict(_) => "conflict",
                EngineError::Denied(_) => "access_denied",
                EngineError::TooManyRequests(_) => "too_many_requests",
                EngineError::RegistryUnreachable(_) => "registry_unreachable",
                EngineError::NoSpace(_) => "no_space",
                EngineError::BadContent(_) => "bad_content",
                EngineError::Vanished(_) | EngineError::ReadingLost(_) => "content_vanished",
                EngineError::Unsupported { .. } => "engine_unsupported",
                EngineError::BrokenOff(_)
                | EngineError::Unfinished
                | EngineError::Malformed(_)
                | EngineError::Other(_) => "engine_error",
            },
            Self::Store(_) => "store",
            Self::Unverified(_) => "unverified",
            Self::DiskFull { .. } => "no_space",
            Self::Stalled(_) => "stalled",
            Self::NoRoom { .. } => "no_room",
            Self::OverLimit { .. } => "over_limit",
            Self::Unmet { .. } => "unmet",
            Self::Refused(_) | Self::NameInUse { .. } => "refused",
            Self::NoQuarter { .. } => "not_found",
            Self::NoDigest { .. } => "no_digest",
        }
    }

    /// May it succeed later without anybody's doing?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_transient(),
            Self::Engine(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Unverified(_) | Self::Stalled(_) => true,
            Self::DiskFull { .. }
            | Self::NoRoom { .. }
            | Self::OverLimit { .. }
            | Self::Unmet { .. }
            | Self::Refused(_)
            | Self::NameInUse { .. }
            | Self::NoQuarter { .. }
            | Self::NoDigest { .. } => false,
        }
    }

    /// Does the policy or a rule forbid it, so that trying again is no use?
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NoRoom { .. } | Self::OverLimit { .. } | Self::NameInUse { .. })
    }

    /// Is the engine away? Then a job waits for it, however long.
    pub fn is_engine_away(&self) -> bool {
        matches!(self, Self::Engine(EngineError::Unreachable { .. }))
    }

    /// Is there no such tag? After a push it may only be not there yet.
    pub fn is_not_found(&self) -> bool {
        self.class() == "not_found"
    }

    /// What the registry asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Registry(error) => error.retry_after(),
            _ => None,
        }
    }

    /// As the job's record keeps it: a message for everybody, the raw cause for the operator.
    pub fn record(&self) -> ErrorRecord {
        if let Self::NoRoom { numbers, detail } = self {
            return self.full(detail, &format!("the server's disk has no room for it: {numbers}"));
        }
        if let Self::OverLimit { fetch, limit, .. } = self {
            let message = format!(
                "it would move {fetch}, more than the download_limit of {limit}; to deploy it all the same say \
                 \"override\": \"budget\""
            );
            return self.full(&self.to_string(), &message);
        }
        let message = match self.class() {
            "not_found" => "the registry has no such image",
            "access_denied" => "the registry refused access; check the server's credentials for it",
            "credentials" => "the server's registry credentials cannot be used",
            "too_many_requests" => "the registry answers 429 Too Many Requests",
            "registry_error" => "the registry answers with an error",
            "registry_unreachable" => "the registry cannot be reached from the server",
            "digest_mismatch" => "the registry serves bytes that do not match their digest",
            "not_an_image" => "the reference is no image that can be run",
            "no_platform" => "the image does not exist for the server's platform",
            "registry_damaged" => "the registry lacks a part of the image",
            "registry_malformed" => "the registry's answer is malformed",
            "engine_unreachable" => "the server's Docker Engine does not answer",
            "conflict" => "the engine refused: something holds the image",
            "no_space" => "the server's disk is full",
            "stalled" => "the pull moved nothing for too long",
            "bad_content" => "a layer's bytes are wrong",
            "content_vanished" => "something pruned on the server while an image was being pulled or looked into",
            "store" => "the server's state could not be stored",
            "unverified" => "what came is not what was asked for",
            "unmet" => "a kept image does not hold what the server expects of it",
            "no_digest" => "no digest was given and the registry cannot be asked for one",
            "refused" => match self {
                Self::NameInUse { .. } => {
                    "a container on the server was created from this tag, which does not show that digest at the \
                     registry; deploy under another tag"
                }
                // the others say nothing that the sender may not know
                _ => return self.full("", &self.to_string()),
            },
            _ => "the engine failed",
        };
        self.full(&self.to_string(), message)
    }

    fn full(&self, detail: &str, message: &str) -> ErrorRecord {
        ErrorRecord { class: self.class().to_owned(), message: message.to_owned(), detail: detail.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_that_the_registry_lost_is_no_tag_that_is_not_there_yet() {
        let lost = JobError::from(EngineError::BlobMissing("blob unknown to registry".to_owned()));
        assert_eq!((lost.class(), lost.is_transient(), lost.is_not_found()), ("registry_damaged", false, false));
        assert_eq!(lost.record().message, "the registry lacks a part of the image");
    }

    #[test]
    fn a_reading_that_was_lost_is_tried_again_and_says_nothing_of_the_registry() {
        let lost = JobError::from(EngineError::ReadingLost("0123456789ab".to_owned()));
        assert_eq!((lost.class(), lost.is_transient(), lost.is_not_found()), ("content_vanished", true, false));
    }

    #[test]
    fn a_pull_that_broke_off_is_counted_and_no_engine_that_is_away() {
        let broken = JobError::from(EngineError::BrokenOff("connection reset".to_owned()));
        assert_eq!((broken.class(), broken.is_transient(), broken.is_engine_away()), ("engine_error", true, false));
    }
}
