//! Time that goes only when the test says so, and the moment at which the keeper has nothing to do.
//!
//! The runtime's clock stands still (see [`stand_still`]), so a timer fires only when the test advances it. The keeper is
//! one task, whose polls are counted; its store answers in the order in which it is asked. So when the store has answered
//! us and the keeper was not polled meanwhile, it was not waiting for the store: it waits for a timer, or for somebody.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use layerkeeper_store::Store;
use tokio::runtime::{Builder, Runtime};

/// Counts how often the futures under it were polled.
#[derive(Clone, Default)]
pub struct Polls(Arc<AtomicU64>);

impl Polls {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// The future, counted.
    pub fn of<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Counted { polls: self.0.clone(), future: Box::pin(future) }
    }

    /// Lets everybody go on until nobody can any more.
    pub async fn until_quiet(&self, store: &Store) {
        let mut quiet = 0;
        while quiet < 1 {
            let before = self.count();
            turn(store).await;
            quiet = if self.count() == before { quiet + 1 } else { 0 };
        }
    }

    /// Lets the keeper go on for so many moments, or until it cannot.
    pub async fn for_moments(&self, store: &Store, moments: u64) {
        let end = self.count() + moments;
        let mut quiet = 0;
        while quiet < 1 && self.count() < end {
            let before = self.count();
            turn(store).await;
            quiet = if self.count() == before { quiet + 1 } else { 0 };
        }
    }
}

/// The store answers once more.
async fn turn(store: &Store) {
    store.prune_gate().await.unwrap();
    tokio::task::yield_now().await;
}

struct Counted<F> {
    polls: Arc<AtomicU64>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        self.future.as_mut().poll(cx)
    }
}

/// Runs on a clock that stands still.
pub fn stand_still<T>(future: impl Future<Output = T>) -> T {
    let runtime: Runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        // a paused clock jumps to the next timer whenever nobody can go on, unless something is blocked
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let holder = tokio::task::spawn_blocking(move || held.recv().is_ok());
        let result = future.await;
        drop(let_go);
        holder.await.unwrap();
        result
    })
}
