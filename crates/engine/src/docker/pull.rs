//! `POST /images/create`: a pull lives exactly as long as its connection.

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use layerkeeper_core::progress::PullEvent;
use layerkeeper_core::{Reference, Selector};

use super::session::{Session, chain};
use crate::pull_line::{Detail, Progress, Wire};
use crate::{EngineError, Login, PullStream};

/// Starts a pull and waits for its first line. What is wrong before it (no such manifest, no registry, no access) is the
/// error of this call; what goes wrong later is an item of the stream.
pub(super) async fn start(
    session: &Session,
    reference: &Reference,
    login: Option<&Login>,
) -> Result<PullStream, EngineError> {
    let tag = match &reference.selector {
        Selector::Tag(tag) => tag.as_str().to_owned(),
        // the engine takes a digest in the place of the tag
        Selector::Digest(digest) => digest.to_string(),
    };
    let options = CreateImageOptionsBuilder::new().from_image(&reference.repository.to_string()).tag(&tag).build();
    let mut tried = false;
    loop {
        let client = session.client().await?;
        let mut lines = client.create_image(Some(options.clone()), None, login.map(credentials)).boxed();
        match lines.next().await {
            Some(Err(error)) if !tried && session.is_stale(&error) => tried = true,
            // the head had come: bollard reads nothing but the body as bare I/O
            Some(Err(error @ Error::IOError { .. })) => return Err(broken_off(&error)),
            Some(Err(error)) => return Err(session.failure(error)),
            first => return Ok(closed(stream::iter(first).chain(lines).map(read).boxed())),
        }
    }
}

/// The credentials as the engine wants them (Docker Engine API, "Authentication").
pub(super) fn credentials(login: &Login) -> DockerCredentials {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    DockerCredentials {
        username: given(&login.username),
        password: given(&login.password),
        serveraddress: given(&login.server_address),
        identitytoken: login.identity_token.clone(),
        registrytoken: login.registry_token.clone(),
        ..DockerCredentials::default()
    }
}

fn read(line: Result<CreateImageInfo, Error>) -> Result<PullEvent, EngineError> {
    match line {
        Ok(line) => Wire {
            id: line.id,
            status: line.status,
            progress_detail: line.progress_detail.map(|p| Progress { current: p.current, total: p.total }),
            error_detail: line.error_detail.map(|detail| Detail { message: detail.message }),
            error: None,
        }
        .read(),
        Err(Error::DockerStreamError { error }) => Err(crate::classify::classify(None, &error)),
        Err(Error::JsonDataError { message, .. }) => Err(EngineError::Malformed(message)),
        Err(Error::JsonSerdeError { err }) => Err(EngineError::Malformed(err.to_string())),
        Err(error) => Err(broken_off(&error)),
    }
}

/// The connection was cut in mid-pull. Whether the engine is away now, the next call shows.
fn broken_off(error: &Error) -> EngineError {
    EngineError::BrokenOff(chain(error))
}

/// Ends after the first error, and with [`EngineError::Unfinished`] where no `Status:` came.
fn closed(lines: BoxStream<'static, Result<PullEvent, EngineError>>) -> PullStream {
    enum State {
        Open { lines: BoxStream<'static, Result<PullEvent, EngineError>>, done: bool },
        Closed,
    }
    let next = |state| async move {
        let State::Open { mut lines, done } = state else { return None };
        match lines.next().await {
            Some(Ok(event)) => {
                let done = done || matches!(event, PullEvent::Done(_));
                Some((Ok(event), State::Open { lines, done }))
            }
            Some(Err(error)) => Some((Err(error), State::Closed)),
            None if done => None,
            None => Some((Err(EngineError::Unfinished), State::Closed)),
        }
    };
    stream::unfold(State::Open { lines, done: false }, next).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn close(lines: Vec<Result<PullEvent, EngineError>>) -> Vec<Result<PullEvent, EngineError>> {
        closed(stream::iter(lines).boxed()).collect().await
    }

    #[tokio::test]
    async fn a_stream_without_its_last_line_is_unfinished() {
        let note = || Ok(PullEvent::Note("x".to_owned()));
        let done = || Ok(PullEvent::Done("Downloaded".to_owned()));
        assert_eq!(close(vec![note()]).await, [note(), Err(EngineError::Unfinished)]);
        assert_eq!(close(vec![]).await, [Err(EngineError::Unfinished)]);
        assert_eq!(close(vec![note(), done()]).await, [note(), done()]);
        let error = || Err(EngineError::Vanished("x".to_owned()));
        assert_eq!(close(vec![error(), done()]).await, [error()], "nothing counts after an error");
        assert_eq!(close(vec![done(), error()]).await, [done(), error()]);
    }

    #[test]
    fn every_kind_of_credential_reaches_the_engine_and_what_is_not_there_is_left_out() {
        let token = Login {
            username: String::new(),
            password: String::new(),
            identity_token: Some("refresh".to_owned()),
            registry_token: Some("bearer".to_owned()),
            server_address: "ghcr.io".to_owned(),
        };
        let sent = credentials(&token);
        assert_eq!((sent.username, sent.password), (None, None));
        assert_eq!(sent.identitytoken.as_deref(), Some("refresh"));
        assert_eq!(sent.registrytoken.as_deref(), Some("bearer"));
        assert_eq!(sent.serveraddress.as_deref(), Some("ghcr.io"));
    }
}
