//! A server of our own in a thread of its own, so that it answers also while a test blocks its thread.

use std::future::Future;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::error::{Doing, Result};

/// A thread with an event loop; dropping it ends all its tasks and returns when they are gone.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs the task that `start` makes, until it ends or this is dropped.
    pub(crate) fn run<F, T>(name: &str, start: F) -> Result<Self>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Future<Output = ()>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.doing(|| format!("making the event loop of {name}"))?;
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = start() => {}
                    _ = stopped => {}
                }
            });
            // sockets close here, also those of tasks that were spawned
            drop(runtime);
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(body);
        let thread = thread.doing(|| format!("starting the thread of {name}"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
