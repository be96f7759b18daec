//! What is done when a blob is whole: its digest is right, and whoever waits gets it; or it is not, and it is fetched once
//! more from one source, which shows who lied.

use layerkeeper_core::Digest;

use super::Desk;
use crate::error::RelayError;

impl Desk {
    pub(super) async fn hashed(
        &mut self,
        digest: Digest,
        hashed: Result<Digest, RelayError>,
    ) -> Result<(), RelayError> {
        let got = hashed?;
        let Some(at) = self.blobs.iter().position(|blob| blob.digest == digest) else { return Ok(()) };
        if got != digest {
            return self.wrong(at, got);
        }
        let liars = self.blobs[at].liars();
        let only = self.blobs[at].again.as_ref().map(|again| again.only);
        // whoever gave all of it right when it was asked alone had its bytes changed on the way
        for liar in liars.await.into_iter().filter(|liar| Some(*liar) != only) {
            self.sources.get_mut(liar).pass_over(format!("gave wrong bytes for {digest}"));
        }
        let blob = &mut self.blobs[at];
        blob.is_ready = true;
        let ready = Ok(blob.ready());
        blob.answer(&ready);
        Ok(())
    }

    /// Fetches it once more from one source alone: the origin, or another one where the wrong bytes came from it alone.
    fn wrong(&mut self, at: usize, got: Digest) -> Result<(), RelayError> {
        let digest = self.blobs[at].digest;
        let next = match &self.blobs[at].again {
            // what came from one source alone is its own doing
            Some(again) => {
                let only = again.only;
                self.sources.get_mut(only).pass_over(format!("gave wrong bytes for {digest}"));
                self.next_alone(at)
            }
            None => self.next_alone(at),
        };
        let Some(only) = next else { return Err(RelayError::Wrong { blob: digest, got }) };
        tracing::warn!(blob = %digest, %got, source = self.sources.get(only).name(), "the bytes of a blob are wrong; fetches it once more");
        self.blobs[at].begin_anew(only)?;
        let hash = self.blobs[at].hash();
        self.spawn(digest, hash);
        Ok(())
    }

    fn next_alone(&self, at: usize) -> Option<usize> {
        let blob = &self.blobs[at];
        let gave = |source: usize| blob.from.iter().any(|(_, from)| *from == Some(source));
        let usable = |source: &usize| self.sources.get(*source).passed_over.is_none() && !blob.absent.contains(source);
        let count = self.sources.iter().count();
        let mut usable: Vec<usize> = (0..count).filter(usable).collect();
        // who has given nothing of it cannot be the one who lied
        usable.sort_by_key(|source| gave(*source) && *source != 0);
        usable.first().copied()
    }
}
