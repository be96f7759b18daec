//! A pull on the fake: which layers move by each store's rules, and the lines that tell of it.

use std::collections::{HashSet, VecDeque};

use futures_util::StreamExt;
use futures_util::stream;
use layerkeeper_core::progress::{LayerStep, PullEvent};
use layerkeeper_core::{ChainId, Digest, Reference, Selector, StoreKind};
use tokio::sync::watch;

use super::Shared;
use super::image::{FakeImage, FakeLayer};
use super::log::{Call, Fault, PullEnd};
use super::registry::FakeRegistry;
use super::state::State;
use crate::{EngineError, PullStream};

/// What happens next.
enum Step {
    Say(PullEvent),
    /// A blob moved.
    Fetch(Digest),
    /// The image is here now.
    Commit,
}

/// A pull under way. Dropped before its end it counts as cancelled.
struct Run {
    shared: Shared,
    registry: FakeRegistry,
    changes: watch::Receiver<u64>,
    reference: Reference,
    image: FakeImage,
    steps: VecDeque<Step>,
    said: usize,
    fault: Option<Fault>,
    prunes: u64,
    releases: u64,
    ended: bool,
}

/// Begins a pull of an image that the registry has.
pub(super) fn start(
    shared: &Shared,
    registry: &FakeRegistry,
    reference: &Reference,
    image: FakeImage,
    fault: Option<Fault>,
) -> PullStream {
    let state = shared.lock();
    let steps: VecDeque<Step> = plan(&state, reference, &image).into();
    let is_download =
        |step: &&Step| matches!(step, Step::Say(PullEvent::Layer { step: LayerStep::Downloading { .. }, .. }));
    // the first line of a download still comes
    let slow = registry.is_slow(reference) && steps.iter().any(|step| is_download(&step));
    let before = steps.iter().take_while(|step| !is_download(step)).filter(|step| matches!(step, Step::Say(_))).count();
    let run = Run {
        steps,
        prunes: state.prunes,
        releases: state.releases,
        shared: shared.clone(),
        registry: registry.clone(),
        changes: shared.changes(),
        reference: reference.clone(),
        image,
        said: 0,
        fault: if slow { Some(Fault::HangAt(before + 1)) } else { fault },
        ended: false,
    };
    drop(state);
    stream::unfold(run, |mut run| async move {
        if run.ended {
            return None;
        }
        let item = run.next().await;
        match &item {
            Some(Err(_)) => run.end(PullEnd::Failed),
            Some(Ok(_)) => {}
            None => run.end(PullEnd::Succeeded),
        }
        item.map(|item| (item, run))
    })
    .boxed()
}

impl Run {
    async fn next(&mut self) -> Option<Result<PullEvent, EngineError>> {
        // a real stream's lines come one at a time, with others at work in between
        tokio::task::yield_now().await;
        loop {
            self.changes.mark_unchanged();
            if let Some(error) = self.interrupted() {
                return Some(Err(error));
            }
            match &self.fault {
                Some(Fault::FailAt(at, error)) if self.said >= *at => return Some(Err(error.clone())),
                Some(Fault::CutAt(at)) if self.said >= *at => return Some(Err(EngineError::Unfinished)),
                Some(Fault::HangAt(at)) if self.said >= *at && self.shared.lock().releases == self.releases => {
                    if self.changes.changed().await.is_err() {
                        return Some(Err(EngineError::Unfinished));
                    }
                    continue;
                }
                _ => {}
            }
            match self.steps.pop_front()? {
                Step::Say(event) => {
                    self.said += 1;
                    return Some(Ok(event));
                }
                Step::Fetch(blob) => {
                    if let Err(error) = self.registry.serve(blob) {
                        return Some(Err(error));
                    }
                    self.shared.lock().keep_blob(blob);
                }
                Step::Commit => self.shared.change(|state| state.commit(&self.reference, &self.image)),
            }
        }
    }

    fn interrupted(&self) -> Option<EngineError> {
        let state = self.shared.lock();
        if state.down {
            return Some(EngineError::BrokenOff("connection closed before message completed".to_owned()));
        }
        let vanished = state.prunes != self.prunes && state.info.store == StoreKind::Containerd;
        vanished.then(|| EngineError::Vanished("failed commit on ref: lease does not exist: not found".to_owned()))
    }

    fn end(&mut self, end: PullEnd) {
        self.ended = true;
        self.shared.change(|state| state.log.push(Call::PullEnded { reference: self.reference.clone(), end }));
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            self.end(PullEnd::Cancelled);
        }
    }
}

fn plan(state: &State, reference: &Reference, image: &FakeImage) -> Vec<Step> {
    let (target, asked) = match &reference.selector {
        Selector::Digest(digest) => (*digest, digest.to_string()),
        Selector::Tag(tag) => (image.resolved(), tag.to_string()),
    };
    let mut steps = vec![Step::Say(PullEvent::Note(format!("{asked}: Pulling from {}", reference.repository.path())))];
    let id = state.id_of(image, target);
    let known = state.images.contains_key(&id);
    if !known {
        match state.info.store {
            StoreKind::Graphdriver => classic(state, image, &mut steps),
            StoreKind::Containerd => containerd(state, image, &mut steps),
        }
    }
    let word =
        if known && state.find(reference) == Some(id) { "Image is up to date" } else { "Downloaded newer image" };
    steps.push(Step::Commit);
    steps.push(Step::Say(PullEvent::Digest(target)));
    steps.push(Step::Say(PullEvent::Done(format!("{word} for {reference}"))));
    steps
}

/// Walks up from the bottom: a layer is here only where its blob is known and its content lies at that place. From the
/// first miss on everything is fetched, a blob that stands twice only once.
fn classic(state: &State, image: &FakeImage, steps: &mut Vec<Step>) {
    let chains = state.chains();
    let stack = ChainId::of_stack(&image.diff_ids());
    let is_here = |(layer, chain): &(&FakeLayer, &ChainId)| {
        chains.contains(chain) && state.known.get(&layer.blob) == Some(&layer.diff_id)
    };
    let here = image.layers.iter().zip(&stack).take_while(is_here).count();
    let (shared, missing) = image.layers.split_at(here);
    steps.extend(shared.iter().map(|layer| say(layer, LayerStep::AlreadyExists)));
    let missing = once(missing);
    steps.extend(missing.iter().map(|layer| say(layer, LayerStep::Announced)));
    for layer in &missing {
        steps.extend([say(layer, downloading(layer, 2)), say(layer, downloading(layer, 1)), Step::Fetch(layer.blob)]);
        steps.extend([say(layer, LayerStep::Verifying), say(layer, LayerStep::Downloaded)]);
    }
    for layer in &missing {
        let size = layer.size.0;
        steps.extend([
            say(layer, LayerStep::Extracting { current: size, total: size }),
            say(layer, LayerStep::Complete),
        ]);
    }
}

/// Skips, without a word, what is unpacked; a blob that is here and not unpacked at that place says `Already exists`.
fn containerd(state: &State, image: &FakeImage, steps: &mut Vec<Step>) {
    let chains = state.chains();
    let stack = ChainId::of_stack(&image.diff_ids());
    let unpacked = |chain: &ChainId| chains.contains(chain);
    let wanted: Vec<FakeLayer> =
        image.layers.iter().zip(&stack).filter(|(_, chain)| !unpacked(chain)).map(|(layer, _)| layer.clone()).collect();
    for layer in once(&wanted) {
        if state.blobs.contains(&layer.blob) {
            steps.push(say(layer, LayerStep::AlreadyExists));
        } else {
            steps.extend([say(layer, LayerStep::Announced), say(layer, downloading(layer, 2))]);
            steps.extend([Step::Fetch(layer.blob), say(layer, LayerStep::Downloaded)]);
        }
    }
}

/// Each blob at its first place.
fn once(layers: &[FakeLayer]) -> Vec<&FakeLayer> {
    let mut seen = HashSet::new();
    layers.iter().filter(|layer| seen.insert(layer.blob)).collect()
}

fn say(layer: &FakeLayer, step: LayerStep) -> Step {
    Step::Say(PullEvent::Layer { id: layer.blob.short(), step })
}

fn downloading(layer: &FakeLayer, part: u64) -> LayerStep {
    LayerStep::Downloading { current: layer.size.0 / part, total: layer.size.0 }
}
