//! One call's work on its way to the thread that does it, and its answer on the way back.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{Fault, StoreError};

/// What a caller sends to a thread.
pub(crate) enum Message {
    /// Joins the transaction of everything else that waits.
    Write(Box<dyn Work>),
    /// Runs by itself, outside of any transaction.
    Alone(Box<dyn Work>),
    /// The last message: finish what came before, then end.
    Stop,
}

/// A call whose types the thread need not know.
pub(crate) trait Work: Send {
    /// Is nobody waiting for the answer any more?
    fn is_abandoned(&self) -> bool;
    /// Does it; what it wrote is to be kept unless it fails.
    fn run(&mut self, connection: &Connection, file: &Path) -> Result<(), StoreError>;
    /// Tells the caller; `lost` says why even a success came to nothing.
    fn answer(self: Box<Self>, lost: Option<&StoreError>);
}

/// A call with its types.
pub(crate) struct Call<T, F> {
    code: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Call<T, F> {
    /// The call, and where its answer arrives.
    pub(crate) fn new(code: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { code: Some(code), result: None, reply }, answer)
    }
}

impl<T, F> Work for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Fault> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, connection: &Connection, file: &Path) -> Result<(), StoreError> {
        let Some(code) = self.code.take() else { return Err(StoreError::Closed) };
        // a defect in one call must not end the thread that all others need
        let result = catch_unwind(AssertUnwindSafe(|| code(connection)))
            .map_err(|panic| StoreError::Defect(words(&*panic)))
            .and_then(|result| result.map_err(|fault| fault.in_file(file)));
        let failure = result.as_ref().err().cloned();
        self.result = Some(result);
        failure.map_or(Ok(()), Err)
    }

    fn answer(self: Box<Self>, lost: Option<&StoreError>) {
        let answer = match (self.result, lost) {
            (Some(Err(error)), _) => Err(error),
            (_, Some(lost)) => Err(lost.clone()),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(StoreError::Closed),
        };
        // a caller that went away wants no answer
        let _ = self.reply.send(answer);
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}
