//! One deploy to many servers: posted to all at once, followed at all at once, and told of each.

use std::cell::RefCell;
use std::io::Write as _;

use futures_util::future::join_all;
use layerkeeper_http::secret::Secrets;
use layerkeeper_http::wire::DeployBody;
use layerkeeper_keeper::Progress;

use super::{NotifyArgs, post};
use crate::cli::exit::Exit;
use crate::cli::follow::follow;
use crate::cli::github;
use crate::cli::output::Output;
use crate::cli::progress::Watcher;
use crate::cli::progress::lines::Printer;
use crate::cli::remote::Public;
use crate::cli::trouble::Trouble;
use crate::render::servers::{self, ServerTold};

/// A server's progress, each line with its name before it: those of all servers come as they come.
struct Named {
    url: String,
    lines: Printer,
}

impl Watcher for Named {
    fn see(&mut self, progress: &Progress) {
        for line in self.lines.lines(progress) {
            self.note(&line);
        }
    }

    fn note(&mut self, sentence: &str) {
        self.lines.note(&format!("{}: {sentence}", self.url));
    }

    fn leave(&mut self) {}
}

/// Notifies all of them. What goes wrong with one does not keep the others from it; the worst is how the command ends.
pub(super) async fn notify(
    args: &NotifyArgs,
    servers: &[(String, Public)],
    secrets: &Secrets,
    body: &DeployBody,
    output: &mut Output,
) -> Result<Exit, Trouble> {
    let all = join_all(servers.iter().map(|(url, public)| one(args, url, public, secrets, body))).await;
    let (told, exits): (Vec<ServerTold>, Vec<Exit>) = all.into_iter().unzip();
    if args.follow
        && let Err(trouble) = github::leave_all(&body.image, &told)
    {
        let _ = writeln!(std::io::stderr(), "layerkeeper: {trouble}");
    }
    output.facts(&told, |told, width| servers::text(told, width))?;
    Ok(exits.into_iter().fold(Exit::Done, Exit::worst))
}

async fn one(
    args: &NotifyArgs,
    url: &str,
    public: &Public,
    secrets: &Secrets,
    body: &DeployBody,
) -> (ServerTold, Exit) {
    let mut told =
        ServerTold { url: url.to_owned(), exit_code: 0, state: String::new(), id: None, job: None, error: None };
    let heard = RefCell::default();
    let work = async {
        let accepted = post(public, secrets, body, &heard).await?;
        told.state = accepted.state;
        told.id = Some(accepted.id.clone());
        if !args.follow {
            return Ok(Exit::Done);
        }
        let mut watcher = Named { url: url.to_owned(), lines: Printer::default() };
        let ended = follow(public, &accepted.id, &mut watcher).await?;
        told.state.clone_from(&ended.job.state);
        told.job = Some(ended.job);
        Ok(ended.exit)
    };
    let ended = super::within(args, url, &heard, work).await;
    let exit = ended.unwrap_or_else(|trouble: Trouble| {
        let exit = trouble.exit();
        told.state = match exit {
            Exit::Unreachable => "unreachable",
            Exit::Refused => "refused",
            _ => "failed",
        }
        .to_owned();
        told.error = Some(trouble.to_string());
        exit
    });
    told.exit_code = exit.code();
    (told, exit)
}
