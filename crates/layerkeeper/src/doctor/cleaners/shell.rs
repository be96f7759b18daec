//! Just enough of the shell's language to tell one simple command from the next.

use std::iter::Peekable;
use std::str::Chars;

/// Words of the shell's own before a command.
const BEFORE: [&str; 13] = ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "esac", "!", "{", "}"];
/// What runs the command that is named behind it and does nothing else: those of its options that take another word, and how
/// many words it wants besides.
const WRAPPERS: [(&str, &str, usize); 17] = [
    ("sudo", "CDRTUghprtu", 0),
    ("doas", "Cu", 0),
    ("nice", "n", 0),
    ("ionice", "cnpPu", 0),
    ("timeout", "ks", 1),
    ("flock", "wE", 1),
    ("env", "uC", 0),
    ("xargs", "EILPadns", 0),
    ("time", "fo", 0),
    ("nohup", "", 0),
    ("chronic", "", 0),
    ("cronic", "", 0),
    ("exec", "a", 0),
    ("command", "", 0),
    ("setsid", "", 0),
    ("stdbuf", "eio", 0),
    ("systemd-cat", "tp", 0),
];
/// What nobody would miss where all else is taken away.
const QUIET: [&str; 36] = [
    "cd", "test", "[", "[[", "true", ":", "false", "exit", "return", "set", "shift", "sleep", "wait", "echo", "printf",
    "logger", "export", "local", "unset", "trap", "umask", "date", "which", "type", "for", "case", "grep", "awk",
    "sort", "uniq", "head", "tail", "cut", "tr", "wc", "cat",
];
/// What runs the script that is named next, or the command behind `-c`.
pub const SHELLS: [&str; 5] = ["sh", "bash", "dash", ".", "source"];
/// Of `docker`: what only looks.
const LOOKS: [&str; 6] = ["images", "ps", "info", "version", "inspect", "df"];
/// Where what is written leaves no trace in a file.
const NOWHERE: [&str; 4] = ["/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty"];

/// A simple command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// Its words, without redirections.
    pub words: Vec<String>,
    /// What it says goes into a file.
    pub writes: bool,
}

/// A text's lines with their numbers from 1 on; what a backslash at the end goes on with belongs to the first.
pub fn lines(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let is_comment = !goes_on && line.trim_start().starts_with('#');
        let open = if is_comment { None } else { line.strip_suffix('\\') };
        let part = open.unwrap_or(line);
        match all.last_mut().filter(|_| goes_on) {
            Some((_, before)) => before.push_str(part),
            None => all.push((index + 1, part.to_owned())),
        }
        goes_on = open.is_some();
    }
    all
}

/// The simple commands of a line. Quotes are taken away, for what stands in them may be run by another shell; what `ssh` is
/// given stays one command.
pub fn commands(line: &str) -> Vec<Command> {
    let mut reader = Reader::default();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' => reader.quote(c),
            '\\' => reader.word.extend(chars.next()),
            '#' if reader.word.is_empty() && reader.quote.is_none() => break,
            '$' if chars.next_if_eq(&'{').is_some() => {
                reader.word.push('$');
                reader.word.extend(chars.by_ref().take_while(|c| *c != '}'));
            }
            c if c.is_whitespace() => reader.end_word(),
            '&' if redirects(&reader.word, &mut chars) => reader.word.push('&'),
            '\n' | ';' | '|' | '&' | '`' | '(' | ')' if !reader.is_elsewhere() => reader.end_command(),
            c => reader.word.push(c),
        }
    }
    reader.end_command();
    reader.commands
}

/// `2>&1`, `&>FILE`
fn redirects(word: &str, rest: &mut Peekable<Chars<'_>>) -> bool {
    word.ends_with(['>', '<']) || word.is_empty() && rest.peek() == Some(&'>')
}

#[derive(Default)]
struct Reader {
    commands: Vec<Command>,
    words: Vec<String>,
    writes: bool,
    word: String,
    quote: Option<char>,
    /// A bare `>` (true) or `<` was read: the next word is its file.
    file_follows: Option<bool>,
}

impl Reader {
    fn quote(&mut self, c: char) {
        match self.quote {
            None => self.quote = Some(c),
            Some(open) if open == c => self.quote = None,
            Some(_) => {}
        }
    }

    /// Is this for another host's shell?
    fn is_elsewhere(&self) -> bool {
        self.quote.is_some() && self.words.iter().any(|word| program_of(word) == "ssh")
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        let bare = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
        let file = bare.trim_start_matches(['>', '<']);
        if bare.starts_with(['>', '<']) {
            let writes = bare.starts_with('>');
            self.file_follows = file.is_empty().then_some(writes);
            self.writes |= writes && !file.is_empty() && !is_nowhere(file);
        } else if !word.is_empty() {
            match self.file_follows.take() {
                Some(writes) => self.writes |= writes && !is_nowhere(&word),
                None => self.words.push(word),
            }
        }
    }

    fn end_command(&mut self) {
        // of `$(`
        self.word.truncate(self.word.trim_end_matches('$').len());
        self.end_word();
        let writes = std::mem::take(&mut self.writes) | self.file_follows.take().unwrap_or_default();
        let words = std::mem::take(&mut self.words);
        if writes || !words.is_empty() {
            self.commands.push(Command { words, writes });
        }
    }
}

/// Is it no file: `/dev/null`, `&1`, `&-`?
fn is_nowhere(file: &str) -> bool {
    let is_open = |to: &str| to.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    NOWHERE.contains(&file) || file.strip_prefix('&').is_some_and(is_open)
}

/// A program's name without its folder.
pub fn program_of(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// A command from its program on, also where a shell is told to run it.
pub fn bare(words: &[String]) -> &[String] {
    let mut rest = words;
    while let Some((word, behind)) = rest.split_first() {
        let wrapper = WRAPPERS.iter().find(|(name, ..)| *name == program_of(word));
        rest = match wrapper {
            Some((_, valued, wanted)) => unwrapped(behind, valued, *wanted),
            None if BEFORE.contains(&word.as_str()) || is_before(word) => behind,
            None => break,
        };
    }
    match rest {
        [shell, option, rest @ ..] if SHELLS.contains(&program_of(shell)) && is_dash_c(option) => bare(rest),
        words => words,
    }
}

/// Is it no program: `-n`, `A=b`?
fn is_before(word: &str) -> bool {
    word.starts_with('-') || word.contains('=')
}

/// What a wrapper runs.
fn unwrapped<'w>(words: &'w [String], valued: &str, mut wanted: usize) -> &'w [String] {
    let mut rest = words;
    while let Some((word, behind)) = rest.split_first() {
        let takes_next = !word.starts_with("--") && word.ends_with(|c| valued.contains(c));
        rest = match word {
            word if word.starts_with('-') && takes_next => behind.get(1..).unwrap_or_default(),
            word if is_before(word) => behind,
            _ if wanted > 0 => {
                wanted -= 1;
                behind
            }
            _ => return rest,
        };
    }
    rest
}

/// `-c`, `-lc`
fn is_dash_c(option: &str) -> bool {
    option.starts_with('-') && option.ends_with('c')
}

/// Would nobody miss it?
pub fn is_quiet(command: &Command) -> bool {
    let words = bare(&command.words);
    let Some(program) = words.first().map(|word| program_of(word)) else {
        // `exec >FILE` and `} >FILE` say where others write; `>FILE` alone makes a file
        return !command.writes || !command.words.is_empty();
    };
    let looks = || words.iter().skip(1).take(2).any(|word| LOOKS.contains(&word.as_str()) || word == "ls");
    !command.writes && (QUIET.contains(&program) || program == "docker" && looks())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<String> {
        commands(line).iter().map(|command| command.words.join(" ")).collect()
    }

    #[test]
    fn a_line_is_told_apart_into_its_commands() {
        for (line, wanted) in [
            ("cd / && docker ps >/dev/null 2>&1 || true", &["cd /", "docker ps", "true"][..]),
            ("a &>/dev/null & b > /tmp/x < y; c", &["a", "b", "c"]),
            ("bash -c 'a; b -x' # c; d", &["bash -c a", "b -x"]),
            ("docker rmi $(docker images -q) -f", &["docker rmi", "docker images -q", "-f"]),
            ("${DOCKER:-docker} system prune", &["$DOCKER:-docker system prune"]),
            ("ssh web2 'a; b | c' && d", &["ssh web2 a; b | c", "d"]),
            ("# all of it", &[]),
            (r"find / -exec x {} \; -print", &["find / -exec x {} ; -print"]),
        ] {
            assert_eq!(read(line), wanted, "{line}");
        }
    }

    #[test]
    fn what_runs_another_command_is_left_out_with_its_own_words() {
        for (line, wanted) in [
            ("/usr/bin/sudo -n -u ann /usr/bin/docker ps", "/usr/bin/docker ps"),
            ("timeout -k 5 10m nice -n 19 docker ps", "docker ps"),
            ("flock -n /run/lock/x -c 'docker ps'", "docker ps"),
            ("A=b env -u X B=c docker ps", "docker ps"),
            ("if ! sh -c 'exec docker ps'", "docker ps"),
            ("backup --after docker ps", "backup --after docker ps"),
        ] {
            assert_eq!(bare(&commands(line)[0].words).join(" "), wanted, "{line}");
        }
    }

    #[test]
    fn a_line_that_goes_on_is_one_with_the_number_of_its_first() {
        let text = "#!/bin/sh\n# no \\\ndocker image prune \\\n  --all \\\n  --force\ntrue\nlast \\";
        let got = lines(text);
        assert_eq!(got[2], (3, "docker image prune   --all   --force".to_owned()));
        assert_eq!((got[3].0, got[4].0, got.len()), (6, 7, 5));
    }

    #[test]
    fn what_nobody_would_miss_is_quiet() {
        for (line, wanted) in [
            ("sleep 10", true),
            ("X=1", true),
            ("sudo -n test -x /usr/bin/docker", true),
            ("if docker images", true),
            ("docker image ls", true),
            ("docker container prune -f", false),
            ("/usr/local/bin/backup.sh", false),
            ("/bin/sh -ec 'sleep 1'", true),
            ("sudo bash -c backup", false),
            ("rm -rf /tmp/x", false),
            ("flock -w 5 /run/x timeout -k 5 10m sleep 5", true),
            ("cat a.log >> /mnt/archive/a.log", false),
            ("cat a.log >/mnt/archive/a.log", false),
            ("echo done 2>&1 >/dev/null", true),
            ("echo failed >&2", true),
            ("grep x < /etc/x 2> /dev/null", true),
            ("exec >> /var/log/x 2>&1", true),
            ("> /srv/state", false),
        ] {
            assert_eq!(is_quiet(&commands(line)[0]), wanted, "{line}");
        }
    }
}
