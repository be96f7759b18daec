//! What a line of a crontab, a unit or a script does to images.

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
/// What only talks of a command.
const TALK: [&str; 4] = ["echo", "printf", "logger", "#"];
/// What stands before a command and is none.
const BEFORE: [&str; 10] = ["sudo", "exec", "nice", "ionice", "chronic", "time", "env", "then", "do", "xargs"];

/// What a line does; usually nothing to images.
pub fn acts(line: &str) -> Vec<Act> {
    let dangling = line.contains("dangling=true");
    commands(line).iter().filter_map(|words| act(words, dangling)).collect()
}

/// The simple commands of a line of shell. Quotes are taken away, for what stands in them may be run by another shell.
fn commands(line: &str) -> Vec<Vec<String>> {
    if line.trim_start().starts_with('#') {
        return Vec::new();
    }
    let plain: String = line.chars().map(|c| if matches!(c, '"' | '\'' | '\\') { ' ' } else { c }).collect();
    let pieces = plain.replace("$(", "\n").replace("&&", "\n").replace("||", "\n");
    let pieces = pieces.split(['\n', ';', '|', '`', '(', ')', '{', '}', '&']);
    let words = |piece: &str| piece.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    pieces.map(words).filter(|words| !words.is_empty()).collect()
}

fn act(words: &[String], dangling: bool) -> Option<Act> {
    if words.first().is_some_and(|first| TALK.contains(&first.as_str())) {
        return None;
    }
    for (index, word) in words.iter().enumerate() {
        let program = word.rsplit('/').next().unwrap_or(word);
        let rest = &words[index + 1..];
        match program {
            "docker" => return docker(rest, dangling),
            "podman" => return docker(rest, dangling).map(|_| Act::Podman),
            "kamal" if rest.iter().any(|word| matches!(word.as_str(), "prune" | "deploy" | "redeploy")) => {
                return Some(Act::Kamal);
            }
            _ => {}
        }
        let program = program.strip_suffix(".sh").unwrap_or(program);
        // only where a program stands: a path behind another command is what that one is about
        let runs = words[..index].iter().all(|word| is_before(word));
        if let Some(collector) = COLLECTORS.iter().find(|name| runs && program == **name) {
            return Some(Act::Collector(collector));
        }
    }
    None
}

fn is_before(word: &str) -> bool {
    BEFORE.contains(&word) || word.starts_with('-') || word.contains('=') || word.bytes().all(|b| b.is_ascii_digit())
}

/// Behind `docker`.
fn docker(words: &[String], dangling: bool) -> Option<Act> {
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        if WITH_VALUE.contains(&option) {
            words.next();
        }
    }
    let rest = |words: std::iter::Peekable<_>| -> Vec<&str> { words.collect() };
    match (words.next()?, words.peek().copied()) {
        ("rmi", _) => Some(remove(&rest(words), dangling)),
        ("image", Some("rm" | "remove")) => Some(remove(&rest(words)[1..], dangling)),
        ("image", Some("prune")) => Some(prune(false, &rest(words)[1..])),
        ("system", Some("prune")) => Some(prune(true, &rest(words)[1..])),
        // a container that cleans, started by hand or by cron
        ("run", _) => rest(words).into_iter().find_map(program),
        _ => None,
    }
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
    let names = words.iter().filter(|word| !word.starts_with(['-', '$', '>', '2'])).map(|word| (*word).to_owned());
    Act::Remove { names: names.collect(), dangling }
}

/// What the name of a container or of its image gives away: the last part of the path, without the tag.
pub fn program(name: &str) -> Option<Act> {
    let name = name.rsplit('/').next().unwrap_or(name);
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
mod tests {
    use super::*;

    fn pruned(line: &str) -> Prune {
        match &acts(line)[..] {
            [Act::Prune(prune)] => prune.clone(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn prunes_are_read_with_what_they_spare() {
        let all = Prune { system: true, all: true, ..Prune::default() };
        for line in [
            "docker system prune -af",
            "/usr/bin/docker system prune --all --force >/dev/null 2>&1",
            "sudo docker -H unix:///run/docker.sock --debug system prune -f -a --volumes",
            "cd / && docker system prune -fa || true",
            "bash -c 'docker system prune -af'",
            "test -x /usr/bin/docker && nice -n 19 docker system prune -a -f",
        ] {
            assert_eq!(pruned(line), all, "{line}");
        }
        assert_eq!(pruned("docker image prune -f"), Prune::default());
        assert_eq!(pruned("docker image prune -f --filter dangling=true"), Prune::default());
        assert!(pruned("docker image prune -f --filter dangling=false").all);
        let until = pruned("docker image prune -a --filter \"until=240h\" --filter=label!=keep");
        assert_eq!((until.until.as_deref(), until.filter.as_deref()), (Some("240h"), Some("label!=keep")));
    }

    #[test]
    fn removals_collectors_and_podman_are_told_apart() {
        let remove = |names: &[&str], dangling| {
            vec![Act::Remove { names: names.iter().map(|name| (*name).to_owned()).collect(), dangling }]
        };
        assert_eq!(acts("docker rmi $(docker images -q)"), remove(&[], false));
        assert_eq!(acts("docker images -q -f dangling=true | xargs -r docker rmi -f"), remove(&[], true));
        assert_eq!(acts("docker image rm acme/app:old"), remove(&["acme/app:old"], false));
        assert_eq!(acts("/usr/local/sbin/docker-gc"), [Act::Collector("docker-gc")]);
        assert_eq!(acts("FORCE=1 docker-cleanup.sh"), [Act::Collector("docker-cleanup")]);
        assert_eq!(acts("podman system prune -af"), [Act::Podman]);
        assert_eq!(acts("docker run --rm -v /x:/x spotify/docker-gc:latest"), [Act::Collector("docker-gc")]);
        assert_eq!(acts("docker run -d containrrr/watchtower --cleanup"), [Act::Updater("watchtower")]);
        assert_eq!(acts("bin/kamal prune all"), [Act::Kamal]);
    }

    #[test]
    fn what_leaves_images_alone_is_nothing() {
        for line in [
            "# docker system prune -af",
            "echo docker system prune -af",
            "docker ps",
            "docker container prune -f",
            "docker builder prune -af",
            "docker volume prune -f",
            "docker compose pull",
            "apt-get autoremove",
            "rm -rf /var/cache/docker-gc",
            "docker",
            "docker image",
            "",
        ] {
            assert_eq!(acts(line), [], "{line}");
        }
    }

    #[test]
    fn a_container_is_known_by_its_image_or_name() {
        assert_eq!(program("ghcr.io/basecamp/kamal-proxy:v0.8"), Some(Act::Kamal));
        assert!(matches!(program("coolify-sentinel"), Some(Act::Prune(prune)) if prune.all));
        assert_eq!(program("docker.io/library/nginx:1"), None);
    }
}
