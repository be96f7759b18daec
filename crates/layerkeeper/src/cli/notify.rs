//! `layerkeeper notify`: CI's side of the webhook. Signs, posts, and follows where wanted.

mod many;

use std::cell::RefCell;
use std::future::Future;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use layerkeeper_http::client::Client;
use layerkeeper_http::secret::Secrets;
use layerkeeper_http::wire::{Accepted, DeployBody};

use super::NotifyArgs;
use super::exit::Exit;
use super::follow::follow;
use super::github;
use super::output::Output;
use super::progress::watcher;
use super::remote::Public;
use super::trouble::Trouble;
use crate::render;

/// A server that is being restarted, or is busy, is asked again for so long.
const POST_PATIENCE: Duration = Duration::from_secs(120);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Posts a deploy and, where wanted, follows it to its end.
pub async fn notify(args: &NotifyArgs, output: &mut Output) -> Result<Exit, Trouble> {
    let body = body(args)?;
    let secrets = secrets(args)?;
    let servers = servers(args)?;
    let [(url, public)] = &servers[..] else { return many::notify(args, &servers, &secrets, &body, output).await };
    let heard = RefCell::default();
    let work = async {
        let accepted = post(public, &secrets, &body, &heard).await?;
        if !args.follow {
            output.facts(&accepted, |accepted, _| {
                format!("{} is {}: {url}{}\n", body.image, accepted.state, accepted.status_url)
            })?;
            return Ok(Exit::Done);
        }
        let mut watcher = watcher();
        let ended = follow(public, &accepted.id, watcher.as_mut()).await;
        watcher.leave();
        let ended = ended?;
        if let Err(trouble) = github::leave(&ended.job) {
            // the deploy's own result is what counts
            let _ = writeln!(std::io::stderr(), "layerkeeper: {trouble}");
        }
        output.facts(&ended.job, render::public::job)?;
        Ok(ended.exit)
    };
    within(args, url, &heard, work).await
}

/// What was last heard of a server.
#[derive(Debug, Default)]
enum Heard {
    #[default]
    Nothing,
    /// Why it has not taken the deploy yet.
    NotYet(Trouble),
    /// It has.
    Taken,
}

/// Waits for no longer than is wanted.
async fn within<T>(
    args: &NotifyArgs,
    url: &str,
    heard: &RefCell<Heard>,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    if let Ok(ended) = tokio::time::timeout(args.timeout, work).await {
        return ended;
    }
    let after = layerkeeper_core::time::human(args.timeout);
    Err(match heard.take() {
        Heard::Taken => Trouble::Failed(format!("no end after {after}; the server goes on with it")),
        Heard::NotYet(Trouble::Passing { cause, .. }) => {
            Trouble::Failed(format!("the server has not taken it after {after}; what it said last: {cause}"))
        }
        Heard::NotYet(Trouble::Unreachable { at, cause }) => Trouble::Unreachable { at, cause },
        // a request may have arrived all the same
        Heard::NotYet(_) | Heard::Nothing => {
            let cause = format!("it gave no answer within {after}, so nobody knows whether it has the deploy");
            Trouble::Unreachable { at: url.to_owned(), cause }
        }
    })
}

/// The servers, each once. All of the addresses are read before any is posted to.
fn servers(args: &NotifyArgs) -> Result<Vec<(String, Public)>, Trouble> {
    let mut servers: Vec<(String, Public)> = Vec::new();
    // a variable of CI may hold many
    for url in args.url.iter().flat_map(|urls| urls.split_whitespace()) {
        let url = url.trim_end_matches('/');
        let url = url.strip_suffix("/v1/deploys").unwrap_or(url);
        if servers.iter().any(|(known, _)| known == url) {
            return Err(Trouble::Usage(format!("{url} is named twice")));
        }
        servers.push((url.to_owned(), Public(Client::web(url)?)));
    }
    if servers.is_empty() {
        return Err(Trouble::Usage("--url is empty".to_owned()));
    }
    Ok(servers)
}

fn body(args: &NotifyArgs) -> Result<DeployBody, Trouble> {
    let digest = match (args.image.digest, args.digest) {
        (Some(one), Some(other)) if one != other => {
            return Err(Trouble::Usage("the digest behind the image and the one of --digest differ".to_owned()));
        }
        (one, other) => one.or(other),
    };
    Ok(DeployBody {
        image: args.image.name.to_string(),
        digest: digest.map(|digest| digest.to_string()),
        overrides: args.overrides.clone(),
    })
}

fn secrets(args: &NotifyArgs) -> Result<Secrets, Trouble> {
    let (place, content) = match (&args.secret_file, &args.secret_env) {
        (Some(file), _) => {
            let content = std::fs::read(file);
            (file.display().to_string(), content.map_err(|error| error.to_string()))
        }
        (None, Some(name)) => {
            let value = std::env::var(name).map_err(|_| "the variable is not set, or is no text".to_owned());
            (format!("${name}"), value.map(String::into_bytes))
        }
        (None, None) => return Err(Trouble::Usage("name the secret with --secret-file or --secret-env".to_owned())),
    };
    let content = content.map_err(|cause| Trouble::Usage(format!("the secret in {place} cannot be read: {cause}")))?;
    Secrets::parse(&content).map_err(|cause| Trouble::Usage(format!("the secret in {place} {cause}")))
}

/// Posts until the server has taken it. Every try has the same id, so that the server makes one job of all of them.
async fn post(
    public: &Public,
    secrets: &Secrets,
    body: &DeployBody,
    heard: &RefCell<Heard>,
) -> Result<Accepted, Trouble> {
    let id = new_id()?;
    let (mut wait, mut waited) = (FIRST_WAIT, Duration::ZERO);
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let trouble = match public.0.notify(secrets.newest(), &id, seconds, body).await {
            Ok(accepted) => {
                heard.replace(Heard::Taken);
                return Ok(accepted);
            }
            Err(error) => Trouble::from(error),
        };
        if !trouble.is_transient() || waited >= POST_PATIENCE {
            return Err(trouble);
        }
        let asked = match &trouble {
            Trouble::Passing { retry_after: Some(seconds), .. } => Duration::from_secs(*seconds),
            _ => Duration::ZERO,
        };
        heard.replace(Heard::NotYet(trouble));
        let pause = wait.max(asked).min(LONGEST_WAIT);
        tokio::time::sleep(pause).await;
        waited += pause;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// 128 random bits.
fn new_id() -> Result<String, Trouble> {
    let mut bits = [0u8; 16];
    getrandom::fill(&mut bits).map_err(|error| Trouble::Failed(format!("no random numbers: {error}")))?;
    Ok(format!("msg_{}", layerkeeper_core::JobId::from_bits(bits)))
}
