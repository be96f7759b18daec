//! What a line of a crontab, a unit or a script does to images.

use super::aim::Aim;
use super::shell::{bare, commands, program_of};

/// What one command does to the images of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// `docker image prune` and `docker system prune`.
    Prune(Prune),
    /// `docker rmi`, `docker image rm`.
    Remove {
        /// What is named; empty where another command lists it.
        names: Vec<String>,
        /// Only what has no tag.
        dangling: bool,
    },
    /// A program that removes what it takes for unused, by rules of its own.
    Collector(&'static str),
    /// A program that pulls newer tags, restarts containers on them, and may remove the image from before.
    Updater(&'static str),
    /// `kamal`, which prunes at the end of each of its deploys.
    Kamal,
    /// Something that removes images of Podman's, not of the engine's.
    Podman,
}

/// A prune and what it spares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prune {
    /// `docker system prune`, which removes stopped containers before.
    pub system: bool,
    /// Also images that have a tag, where no container was made from them.
    pub all: bool,
    /// Only images that were built so long ago, as written.
    pub until: Option<String>,
    /// Another filter, which cannot be judged from here.
    pub filter: Option<String>,
}

/// Programs that clean up by themselves, as their names begin or end, and what they are.
const COLLECTORS: [&str; 4] = ["docker-gc", "docuum", "docker-cleanup", "docker-clean"];
/// Options of `docker` itself that take a value.
const WITH_VALUE: [&str; 7] = ["-H", "--host", "-c", "--context", "--config", "-l", "--log-level"];
/// Options of `docker run` that take none: all others do, where no `=` is in them.
const WITHOUT_VALUE: [&str; 14] = [
    "--detach",
    "--disable-content-trust",
    "--help",
    "--init",
    "--interactive",
    "--no-healthcheck",
    "--oom-kill-disable",
    "--privileged",
    "--publish-all",
    "--quiet",
    "--read-only",
    "--rm",
    "--sig-proxy",
    "--tty",
];
/// The same of one letter.
const FLAGS: &str = "Pdiqt";
/// What only talks of a command.
const TALK: [&str; 3] = ["echo", "printf", "logger"];

/// One command that does something to images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub act: Act,
    /// From its program on: what stands before it or on the rest of the line, such as a password, is nobody's business.
    pub command: String,
    /// Nothing but this is run: no program that was given the command and may do more than that.
    pub alone: bool,
}

/// What a line does; usually nothing to images.
pub fn acts(line: &str) -> Vec<Act> {
    let steps = commands(line).into_iter().filter_map(|command| step(&command.words, line, &Aim::default()));
    steps.map(|step| step.act).collect()
}

/// What one of a line's commands does to images of this host's, where the environment leads `docker` as `aim` says.
pub fn step(all: &[String], line: &str, aim: &Aim) -> Option<Step> {
    let words = bare(all);
    if words.first().is_some_and(|first| TALK.contains(&first.as_str())) {
        return None;
    }
    let dangling = line.contains("dangling=true");
    let mut aim = aim.clone();
    all[..all.len() - words.len()].iter().for_each(|word| aim.set(word));
    for (index, word) in words.iter().enumerate() {
        let (program, rest) = (program_of(word), &words[index + 1..]);
        let told = |act: Act, command: String| Some(Step { act, command, alone: index == 0 });
        let whole = || words[index..].join(" ");
        // a variable that holds the program is named after it
        let is_docker =
            program == "docker" || program.starts_with('$') && program.to_ascii_lowercase().contains("docker");
        if is_docker {
            let (aim, rest) = options(rest, &aim);
            match docker(rest, dangling) {
                _ if aim.is_elsewhere() => return None,
                Some((act, Some(image))) => return told(act, format!("{program} run … {image}")),
                Some((act, None)) => return told(act, whole()),
                None => {}
            }
        }
        match program {
            // on another host
            "ssh" => return None,
            "podman" => {
                return docker(options(rest, &aim).1, dangling).and_then(|_| told(Act::Podman, whole()));
            }
            "kamal" if rest.iter().any(|word| matches!(word.as_str(), "prune" | "deploy" | "redeploy")) => {
                return told(Act::Kamal, whole());
            }
            _ => {}
        }
        let name = program.strip_suffix(".sh").unwrap_or(program);
        // only where a program stands: a path behind another command is what that one is about
        let mut collectors = COLLECTORS.iter().filter(|collector| index == 0 && name == **collector);
        if let Some(collector) = collectors.find(|_| !aim.is_elsewhere()) {
            return told(Act::Collector(collector), program.to_owned());
        }
        // behind a program that we do not know
        aim.set(word);
    }
    None
}

impl Act {
    /// Can it take an image that has a tag?
    pub fn takes_tagged(&self) -> bool {
        match self {
            Self::Prune(prune) => prune.all,
            Self::Remove { dangling, .. } => !dangling,
            Self::Collector(_) | Self::Updater(_) => true,
            Self::Kamal | Self::Podman => false,
        }
    }
}

/// What stands behind the options of `docker` itself, and where they lead.
fn options<'w>(words: &'w [String], aim: &Aim) -> (Aim, &'w [String]) {
    let (mut aim, mut rest) = (aim.clone(), words);
    while let Some((option, behind)) = rest.split_first().filter(|(word, _)| word.starts_with('-')) {
        let (option, attached) = attached(option);
        let next = behind.first().filter(|_| attached.is_none() && WITH_VALUE.contains(&option));
        aim = aim.with_option(option, attached.or(next.map(String::as_str)).unwrap_or_default());
        rest = &behind[usize::from(next.is_some())..];
    }
    (aim, rest)
}

/// Behind `docker` and its options; with the image where a container is to do it, started by hand or by cron.
fn docker(words: &[String], dangling: bool) -> Option<(Act, Option<&str>)> {
    let (command, rest) = words.split_first()?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let act = match (command.as_str(), rest.first().copied()) {
        ("rmi", _) => remove(&rest, dangling),
        ("image", Some("rm" | "remove")) => remove(&rest[1..], dangling),
        ("image", Some("prune")) => prune(false, &rest[1..]),
        ("system", Some("prune")) => prune(true, &rest[1..]),
        ("run", _) => return run(&rest),
        ("container", Some("run")) => return run(&rest[1..]),
        _ => return None,
    };
    Some((act, None))
}

/// An option of `docker` itself with what is attached to it: `--host=ssh://web2`, `-Hssh://web2`.
fn attached(option: &str) -> (&str, Option<&str>) {
    let short = option.split_at_checked(2).filter(|(_, value)| !option.starts_with("--") && !value.is_empty());
    match short {
        Some((name, value)) => (name, Some(value.strip_prefix('=').unwrap_or(value))),
        None => option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value))),
    }
}

/// What the image of `docker run` gives away. A container of Coolify's or kamal's prunes nothing itself, and what is started here
/// may be the application.
fn run<'w>(words: &[&'w str]) -> Option<(Act, Option<&'w str>)> {
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let takes_next = match word.strip_prefix('-') {
            None => {
                let act = program(word).filter(|act| matches!(act, Act::Updater(_) | Act::Collector(_)))?;
                return Some((act, Some(word)));
            }
            Some("-") => false,
            Some(long) if long.starts_with('-') => !word.contains('=') && !WITHOUT_VALUE.contains(&word),
            // -it, -p 80:80, -p80:80, -dp 80:80
            Some(letters) => letters.find(|c| !FLAGS.contains(c)).is_some_and(|at| at + 1 == letters.len()),
        };
        if takes_next {
            words.next();
        }
    }
    None
}

fn prune(system: bool, words: &[&str]) -> Act {
    let mut prune = Prune { system, ..Prune::default() };
    let mut filter = |text: &str| match text.split_once('=') {
        Some(("until", age)) => prune.until = Some(age.to_owned()),
        // true is what it is without -a anyway
        Some(("dangling", value)) => prune.all |= value == "false",
        _ => prune.filter = Some(text.to_owned()),
    };
    let mut all = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--filter" => words.next().into_iter().for_each(|text| filter(text)),
            "--all" | "--all=true" => all = true,
            word => match word.strip_prefix("--filter=") {
                Some(text) => filter(text),
                // -af, -fa
                None => all |= word.starts_with('-') && !word.starts_with("--") && word.contains('a'),
            },
        }
    }
    prune.all |= all;
    Act::Prune(prune)
}

fn remove(words: &[&str], dangling: bool) -> Act {
    let names = words.iter().filter(|word| !word.starts_with(['-', '$'])).map(|word| (*word).to_owned());
    Act::Remove { names: names.collect(), dangling }
}

/// What the name of a container or of its image gives away: the last part of the path, without the tag.
pub fn program(name: &str) -> Option<Act> {
    let name = program_of(name);
    let name = name.split([':', '@']).next().unwrap_or(name);
    match name {
        "watchtower" => Some(Act::Updater("watchtower")),
        "ouroboros" => Some(Act::Updater("ouroboros")),
        "kamal-proxy" => Some(Act::Kamal),
        // its own server sends these commands over SSH, each night unless it is told otherwise
        "coolify" | "coolify-proxy" | "coolify-sentinel" => Some(Act::Prune(Prune { all: true, ..Prune::default() })),
        _ => COLLECTORS.iter().find(|collector| name == **collector).map(|collector| Act::Collector(collector)),
    }
}

#[cfg(test)]
mod tests;
