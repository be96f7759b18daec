//! The daemon as commands reach it: over the control socket, or over a server's public listener.

use std::path::{Path, PathBuf};

use layerkeeper_core::JobState;
use layerkeeper_http::client::{Client, ClientError, ProgressStream};
use layerkeeper_http::wire::{JobView, PublicJob};
use layerkeeper_keeper::Progress;

use super::Cli;
use super::exit::Exit;
use super::follow::{Events, Followed, Source};
use super::trouble::Trouble;
use crate::config::{self, DEFAULT_FILE};

/// The control socket.
#[derive(Debug, Clone)]
pub struct Control(pub Client);

/// A server's public listener.
#[derive(Debug, Clone)]
pub struct Public(pub Client);

impl Control {
    /// The socket that the arguments name, or else the configuration.
    ///
    /// # Errors
    /// A configuration was named and cannot be read.
    pub fn of(cli: &Cli) -> Result<Self, Trouble> {
        Ok(Self(Client::control(socket(cli)?)))
    }
}

fn socket(cli: &Cli) -> Result<PathBuf, Trouble> {
    if let Some(socket) = &cli.socket {
        return Ok(socket.clone());
    }
    Ok(config::control_socket(&configuration(&cli.config)?))
}

/// The configuration's text; empty where none lies at the usual place, or none that we may read: whoever may use the
/// daemon need not be allowed to read its configuration.
pub fn configuration(file: &Path) -> Result<String, Trouble> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(_) if file == Path::new(DEFAULT_FILE) => Ok(String::new()),
        Err(error) => Err(Trouble::Usage(format!("{}: cannot be read: {error}", file.display()))),
    }
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Url { .. } => Self::Usage(error.to_string()),
            ClientError::NotReachable { target, cause } => Self::Unreachable { at: target, cause },
            ClientError::Protocol(cause) => Self::Passing { cause, retry_after: None },
            ClientError::Problem(ref problem) => match problem.status {
                403 => Self::Refused(problem.detail.clone()),
                400 | 413 | 415 | 422 => Self::Usage(error.to_string()),
                _ if error.is_transient() => {
                    Self::Passing { cause: error.to_string(), retry_after: problem.retry_after_seconds }
                }
                _ => Self::Failed(error.to_string()),
            },
        }
    }
}

/// How a job that has come to its end is told; a state of a newer version is no success.
pub fn exit_of(state: &str) -> Exit {
    state.parse::<JobState>().ok().and_then(Exit::of_state).unwrap_or(Exit::Failed)
}

impl Events for ProgressStream {
    async fn next(&mut self) -> Result<Option<Progress>, Trouble> {
        Ok(Self::next(self).await?)
    }
}

impl Source for Control {
    type Job = JobView;
    type Events = ProgressStream;

    async fn job(&self, id: &str) -> Result<JobView, Trouble> {
        Ok(self.0.get(&format!("/v1/jobs/{id}")).await?)
    }

    async fn events(&self, id: &str) -> Result<ProgressStream, Trouble> {
        Ok(self.0.events(&format!("/v1/jobs/{id}/events")).await?)
    }
}

impl Source for Public {
    type Job = PublicJob;
    type Events = ProgressStream;

    async fn job(&self, id: &str) -> Result<PublicJob, Trouble> {
        Ok(self.0.get(&format!("/v1/deploys/{id}")).await?)
    }

    async fn events(&self, id: &str) -> Result<ProgressStream, Trouble> {
        Ok(self.0.events(&format!("/v1/deploys/{id}/events")).await?)
    }
}

impl Followed for JobView {
    fn state(&self) -> &str {
        &self.state
    }

    fn superseded_by(&self) -> Option<&str> {
        self.superseded_by.as_deref()
    }
}

impl Followed for PublicJob {
    fn state(&self) -> &str {
        &self.state
    }

    fn superseded_by(&self) -> Option<&str> {
        self.superseded_by.as_deref()
    }
}
