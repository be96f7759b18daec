//! Whose engine `docker` is sent to: this host's, or another's.

/// What the environment of a command says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aim {
    host: Option<String>,
    context: Option<String>,
}

impl Aim {
    /// Takes in a word, if it sets one of its variables: `DOCKER_HOST=ssh://web2`.
    pub fn set(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else { return };
        let value = value.trim().trim_matches(['"', '\'']);
        if let Some(variable) = self.variable(name.trim()) {
            *variable = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
    }

    /// What holds for the commands that a shell runs after this one.
    pub fn after(&mut self, words: &[String]) {
        let Some((program, rest)) = words.split_first() else { return };
        match program.as_str() {
            "export" => rest.iter().for_each(|word| self.set(word)),
            "unset" => rest.iter().filter_map(|name| self.variable(name).map(|value| *value = None)).collect(),
            _ => {}
        }
    }

    /// Is it another host's?
    pub fn is_elsewhere(&self) -> bool {
        match (&self.host, &self.context) {
            (Some(host), _) => !is_here(host),
            (None, context) => context.as_deref().is_some_and(|context| context != "default"),
        }
    }

    /// The same with an option of `docker` itself, which goes before.
    pub fn with_option(self, option: &str, value: &str) -> Self {
        match option {
            "-H" | "--host" => Self { host: Some(value.to_owned()), context: None },
            "-c" | "--context" => Self { host: None, context: Some(value.to_owned()) },
            _ => self,
        }
    }

    fn variable(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "DOCKER_HOST" => Some(&mut self.host),
            "DOCKER_CONTEXT" => Some(&mut self.context),
            _ => None,
        }
    }
}

/// A socket, or a port of this host's own.
fn is_here(host: &str) -> bool {
    let (scheme, address) = host.split_once("://").unwrap_or(("tcp", host));
    let own = ["127.", "[::1]", ":"];
    match scheme {
        "unix" | "fd" => true,
        "tcp" => {
            let name = address.split(':').next();
            address.is_empty() || name == Some("localhost") || own.iter().any(|own| address.starts_with(own))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_last_and_nearest_counts() {
        let mut aim = Aim::default();
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        assert!(!aim.is_elsewhere());
        for (command, elsewhere) in [
            ("export A=b DOCKER_HOST=ssh://web2", true),
            ("DOCKER_HOST=unix:///run/docker.sock", true),
            ("unset DOCKER_HOST", false),
            ("export DOCKER_CONTEXT=prod", true),
            ("export DOCKER_CONTEXT=default", false),
            ("export DOCKER_CONTEXT=prod DOCKER_HOST=unix:///run/user/1000/docker.sock", false),
            ("export DOCKER_HOST=", true),
        ] {
            aim.after(&words(command));
            assert_eq!(aim.is_elsewhere(), elsewhere, "{command}");
        }
        assert!(!aim.with_option("--host", "fd://").is_elsewhere());
    }

    #[test]
    fn a_port_of_this_host_is_no_other_host() {
        for (host, here) in [
            ("unix:///run/docker.sock", true),
            ("tcp://127.0.0.1:2375", true),
            ("tcp://localhost:2375", true),
            ("[::1]:2375", true),
            (":2375", true),
            ("tcp://10.0.0.5:2375", false),
            ("localhost.example.net:2375", false),
            ("ssh://localhost", false),
            ("$HOST", false),
        ] {
            assert_eq!(is_here(host), here, "{host}");
        }
    }
}
