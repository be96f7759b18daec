//! The causes, in words: what is the matter, and what to do about it.

use std::collections::BTreeSet;
use std::fmt;

use crate::digest::Digest;
use crate::instruction::{alike, arguments, instruction, is_cut, is_told_apart};
use crate::manifest::Compression;
use crate::reuse::explain::{Lost, Repeat};
use crate::time::Timestamp;

/// Why a layer must be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The same content is here, and the engine knows it by another blob.
    OtherCompression {
        /// The blob by which it is known here.
        here: Digest,
        /// How that one is compressed, where it is known.
        here_as: Option<Compression>,
        /// How the one to come is compressed.
        wanted_as: Compression,
    },
    /// The same content is here, on top of other layers.
    OtherPosition {
        /// An image that holds it.
        image: String,
        /// That image is kept, so that others may be built on it.
        kept: bool,
    },
    /// The first layer that is another one than in the image it was compared with.
    Differs(Difference),
    /// All of an image here lies below it: it is new, not another one than before.
    OnTop {
        /// That image.
        image: String,
    },
    /// It stands above the first layer that moves.
    Above {
        /// That layer, counted from 0 at the bottom.
        first: usize,
    },
    /// Its content is here, and nobody knows by which blob: the image came by load or build.
    Undescribed {
        /// An image that holds it.
        image: String,
    },
    /// It was here once.
    Lost(Lost),
    /// Its files stand in another image here.
    Repeats(Repeat),
    /// Nothing like it was ever seen here.
    NeverSeen {
        /// The lowest layer that moves, where that is below this one, counted from 0 at the bottom: what can be done is said there.
        above: Option<usize>,
    },
}

/// Where two images part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The image here.
    pub image: String,
    /// What made the layer to come, where its config says.
    pub wanted: Option<String>,
    /// What made the layer here, where the registry still says.
    pub here: Option<String>,
    /// It is the lowest layer: they have nothing in common.
    pub at_bottom: bool,
    /// The kept image that the one here is built on and the one to come is not.
    pub base: Option<String>,
}

impl Cause {
    /// A stable word to branch on.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::OtherCompression { .. } => "other compression",
            Self::OtherPosition { .. } => "other position",
            Self::Differs(_) => "differs",
            Self::OnTop { .. } => "on top",
            Self::Above { .. } => "above",
            Self::Undescribed { .. } => "loaded or built",
            Self::Lost(_) => "lost",
            Self::Repeats(_) => "repeats files",
            Self::NeverSeen { .. } => "never seen",
        }
    }

    /// When that happened, where it happened on this host.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Lost(lost) => Some(lost.at),
            _ => None,
        }
    }

    /// What to do about it; none where there is nothing to do at this layer.
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::OtherCompression { .. } => {
                "build every image of the chain with the same tool and version, and push with the same compression \
                 (docker buildx: --output type=image,compression=gzip,force-compression=false); after that this layer moves \
                 once more and then stays"
                    .to_owned()
            }
            Self::OtherPosition { kept: false, .. } => return None,
            Self::OtherPosition { image, .. } => format!(
                "build FROM the image that has it ({image}), so that the layers below are the same; the classic image store \
                 reuses a layer only at the same place of the chain, the containerd store anywhere"
            ),
            Self::Differs(difference) => difference.advice(),
            Self::OnTop { .. } => "nothing, unless it is large: then put what seldom changes in it into a kept image, and build \
                                   on that"
                .to_owned(),
            Self::NeverSeen { above: None } => {
                "nothing, if it is the first of its kind here; else keep the image that it is built on as a [[keep]] block, so \
                 that this layer is here before the deploy"
                    .to_owned()
            }
            Self::Above { .. } | Self::NeverSeen { above: Some(_) } => return None,
            Self::Undescribed { image } => format!(
                "pull {image} from its registry once instead of loading or building it here; what the engine never \
                 downloaded it downloads again"
            ),
            Self::Lost(Lost { ours: true, .. }) => {
                "layerkeeper removed it as old; where such tags are deployed again, raise keep_last or min_age of their \
                 [[runtime]] block, or give the disk more room if it went for lack of it"
                    .to_owned()
            }
            Self::Lost(_) => {
                "see `layerkeeper history` and `layerkeeper doctor` for who removes images here; keep the image that holds \
                 it as a [[keep]] block, so that it is healed before the next deploy"
                    .to_owned()
            }
            Self::Repeats(repeat) => format!(
                "build the last stage FROM the image that has the files ({}) instead of copying them out of it, or copy \
                 them in a stage that both images share: a copied file makes a layer of its own, with another digest",
                repeat.image
            ),
        };
        Some(text)
    }
}

impl Difference {
    /// Both were made by the same words.
    fn is_again(&self) -> bool {
        self.known().is_some_and(|(wanted, here)| alike(wanted) == alike(here))
    }

    /// What made both, where that is known to the word.
    fn known(&self) -> Option<(&str, &str)> {
        let both = self.wanted.as_deref().zip(self.here.as_deref());
        both.filter(|(wanted, here)| is_told_apart(wanted) && is_told_apart(here))
    }

    /// Build arguments of the instruction whose values are not the same.
    fn changed_arguments(&self) -> Vec<&str> {
        let Some((wanted, here)) = self.known() else { return Vec::new() };
        let (wanted, here) = (arguments(wanted), arguments(here));
        let changed = wanted.iter().chain(&here).filter(|one| wanted.contains(one) != here.contains(one));
        let names: BTreeSet<&str> = changed.map(|(name, _)| *name).collect();
        names.into_iter().collect()
    }

    fn advice(&self) -> String {
        let instruction = self.wanted.as_deref().map(alike).unwrap_or_default();
        if let Some(base) = &self.base {
            return format!(
                "refresh the kept images first (`layerkeeper prewarm`), or build on the {base} that the servers have: a base \
                 that moves makes every layer above it anew"
            );
        }
        let copies = instruction.starts_with("COPY ") || instruction.starts_with("ADD ");
        let arguments = self.changed_arguments();
        match () {
            // of an image FROM scratch it is what the build copied
            () if self.at_bottom && !instruction.starts_with("COPY ") => {
                "the lowest layer is the base image's, as a rule: name that by its digest in FROM, and keep it as a [[keep]] \
                 block, so that it is here before the deploy; a base that moves makes every layer above it anew"
                    .to_owned()
            }
            () if self.is_again() && !arguments.is_empty() => format!(
                "declare ARG {} below this instruction, or in another stage: an argument in scope makes every RUN below its \
                 declaration run again when the value changes",
                arguments.join(", ARG ")
            ),
            () if self.is_again() && (instruction.contains("apt-get") || instruction.contains("apk ")) => {
                "let it come out of the build cache (--cache-from): a package index that is fetched again makes other \
                 bytes each time, and everything above it moves"
                    .to_owned()
            }
            () if self.is_again() && copies => {
                "the files that it copies have changed; copy what changes often (the code) after what changes seldom \
                 (requirements.txt, package-lock.json)"
                    .to_owned()
            }
            () if self.is_again() => {
                "the same instruction ran again and made other content: let it come out of the build cache (--cache-from)"
                    .to_owned()
            }
            () if self.known().is_some() => {
                "the Dockerfile has changed here; put what changes often after what changes seldom".to_owned()
            }
            () => "put what changes often after what changes seldom".to_owned(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCompression { here, here_as, wanted_as } => {
                write!(f, "the same content is here as another blob ({}", here.short())?;
                if let Some(here_as) = here_as {
                    write!(f, ", {here_as}")?;
                }
                write!(f, "); this one is {wanted_as}, compressed anew")
            }
            Self::OtherPosition { image, .. } => {
                write!(f, "the same layer is here in {image}, on top of other layers")
            }
            Self::Differs(difference) => write!(f, "{difference}"),
            Self::OnTop { image } => {
                write!(f, "it is new on top of {image}, which is here whole: this is what the pull is for")
            }
            Self::Above { first } => write!(f, "it stands above layer {}, which moves", first + 1),
            Self::Undescribed { image } => write!(
                f,
                "its content is here in {image}, which was loaded or built here or whose manifest is gone: nobody knows by \
                 which blob the engine knows it"
            ),
            Self::Lost(lost) => {
                write!(f, "it was here in {}, which was gone at {}", lost.image, lost.at)?;
                match &lost.how {
                    Some(how) => write!(f, ": {how}"),
                    None => Ok(()),
                }
            }
            Self::Repeats(repeat) => write!(f, "{repeat}"),
            Self::NeverSeen { .. } => write!(f, "nothing like it was ever seen here"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = &self.image;
        if let Some(base) = &self.base {
            return write!(
                f,
                "the first layer that differs from {image}: it is no longer built on {base} as it is here"
            );
        }
        match self.known() {
            Some((wanted, _)) if self.is_again() => {
                let arguments = self.changed_arguments();
                if !arguments.is_empty() {
                    let of = arguments.join(", ");
                    return write!(
                        f,
                        "the first layer that differs from {image}: the same instruction with another value of the build \
                         argument {of}"
                    );
                }
                if is_cut(wanted) {
                    return write!(
                        f,
                        "the first layer that differs from {image}: an instruction that begins alike made other content"
                    );
                }
                write!(f, "the first layer that differs from {image}: the same instruction made other content")
            }
            Some((_, here)) => {
                write!(f, "the first layer that differs from {image}, where the instruction is: {}", instruction(here))
            }
            None => write!(f, "the first layer that differs from {image}"),
        }
    }
}

impl fmt::Display for Repeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = (self.repeated.ratio_of(self.total) * 100.0).floor();
        let Self { image, total, repeated, files, repeated_files, foretold } = self;
        if *foretold {
            write!(f, "the last layer that this instruction made repeated ")?;
        } else {
            write!(f, "it repeats ")?;
        }
        write!(
            f,
            "{share:.0} % of its files' bytes from {image} ({repeated} of {total}, {repeated_files} of {files} files): same \
             path, same content, another layer"
        )
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}
