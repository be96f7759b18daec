//! Is a kept image here, and if not, what is to be done?

use std::fmt;

use crate::digest::Digest;
use crate::inventory::Inventory;
use crate::policy::Keep;

/// What the registry says of the kept image's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// It has this digest.
    Digest(Digest),
    /// There is no such tag.
    Gone,
    /// It was not asked, or gave no answer.
    Unknown,
}

/// What became of a kept image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The name is here with the right digest.
    Present,
    /// There is no such name here.
    Absent,
    /// The name is here, but not with what we brought or with what the pin wants.
    MovedLocally,
    /// The name is here with what the registry had before.
    MovedAtRegistry,
    /// The name is here, and nothing tells whether it is right: never refreshed by us and the registry gave no answer.
    Unverified,
}

/// A finding with what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepVerdict {
    /// What became of it.
    pub finding: Finding,
    /// The digest that it has here, where it has one.
    pub here: Option<Digest>,
    /// The digest to bring here under the name.
    pub bring: Option<Digest>,
    /// The pin is held, but the registry's tag shows something else or is gone.
    pub pin_unresolvable: bool,
    /// What the registry's tag shows where it has moved on from the pin; none where it is gone.
    pub tag_shows: Option<Digest>,
    /// The finding in one sentence, with what is done about it.
    pub reason: String,
}

/// Judges one kept image. `known` is the digest under which our own record last verified the name here.
pub fn judge_kept(keep: &Keep, inventory: &Inventory, remote: &Remote, known: Option<Digest>) -> KeepVerdict {
    let repository = &keep.image.repository;
    let named = inventory.named(&keep.image);
    let has = |digest: Digest| named.is_some_and(|image| image.has_digest(repository, digest));
    let wanted = match (keep.pin, remote) {
        (Some(pin), _) => Some(pin),
        (None, Remote::Digest(digest)) => Some(*digest),
        (None, _) => known,
    };
    let finding = match (named, wanted) {
        (None, _) => Finding::Absent,
        (Some(_), None) => Finding::Unverified,
        (Some(_), Some(digest)) if has(digest) => Finding::Present,
        // a pin is never refreshed, so it cannot have moved at the registry
        (Some(_), Some(_)) if keep.pin.is_some() => Finding::MovedLocally,
        // what we brought is no longer under the name, or what is there never came from the registry: only somebody
        // here can have done that. An image that was here before us is as likely to be just old.
        (Some(image), Some(_))
            if known.is_some_and(|known| !has(known)) || image.digests_in(repository).next().is_none() =>
        {
            Finding::MovedLocally
        }
        (Some(_), Some(_)) => Finding::MovedAtRegistry,
    };
    let here = wanted.filter(|d| has(*d)).or_else(|| named.and_then(|image| image.digests_in(repository).next()));
    let bring = match finding {
        Finding::Present | Finding::Unverified => None,
        Finding::Absent | Finding::MovedLocally | Finding::MovedAtRegistry => match remote {
            // without a pin, content comes only as the registry names it now
            Remote::Gone if keep.pin.is_none() => None,
            _ => wanted,
        },
    };
    let tag_shows = match (keep.pin, remote) {
        (Some(pin), Remote::Digest(digest)) if *digest != pin => Some(*digest),
        _ => None,
    };
    let pin_unresolvable = tag_shows.is_some() || (keep.pin.is_some() && *remote == Remote::Gone);
    let reason = reason(keep, finding, here, wanted, remote, tag_shows);
    KeepVerdict { finding, here, bring, pin_unresolvable, tag_shows, reason }
}

fn reason(
    keep: &Keep,
    finding: Finding,
    here: Option<Digest>,
    wanted: Option<Digest>,
    remote: &Remote,
    tag_shows: Option<Digest>,
) -> String {
    let shown = |digest: Option<Digest>| digest.map_or("no digest".to_owned(), |d| d.short());
    let mut text = match finding {
        Finding::Present => format!("is here as {}", shown(here)),
        Finding::Absent => "is not here".to_owned(),
        // the pin may be newer than what is here, and then nobody moved anything
        Finding::MovedLocally if keep.pin.is_some() => {
            format!("the name has {}, the pin wants {}", shown(here), shown(wanted))
        }
        Finding::MovedLocally => {
            format!("was moved on this host: the name has {}, wanted is {}", shown(here), shown(wanted))
        }
        Finding::MovedAtRegistry => {
            format!("moved at the registry: here is {}, there is {}", shown(here), shown(wanted))
        }
        Finding::Unverified => format!("is here as {}; the registry has not confirmed it yet", shown(here)),
    };
    if tag_shows.is_some() {
        let by_now = shown(tag_shows);
        return format!("{text}; it is pinned, and the registry's tag shows {by_now} by now, which is not followed");
    }
    if *remote == Remote::Gone {
        text.push_str("; the registry has no such tag");
    } else if keep.pin.is_some() {
        text.push_str(" (pinned)");
    }
    text
}

impl Finding {
    /// As status and tables name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::MovedLocally => "moved locally",
            Self::MovedAtRegistry => "moved at the registry",
            Self::Unverified => "unverified",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
