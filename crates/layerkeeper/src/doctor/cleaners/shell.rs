//! Just enough of the shell's language to tell one simple command from the next.

use std::iter::Peekable;
use std::str::Chars;

/// What stands before a command and is none.
const BEFORE: [&str; 24] = [
    "sudo", "exec", "command", "nice", "ionice", "chronic", "time", "timeout", "nohup", "env", "xargs", "if", "then",
    "elif", "else", "fi", "while", "until", "do", "done", "esac", "!", "{", "}",
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

/// The simple commands of a line, as words, without redirections. Quotes are taken away, for what stands in them may be run
/// by another shell; what `ssh` is given stays one command.
pub fn commands(line: &str) -> Vec<Vec<String>> {
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
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: String,
    quote: Option<char>,
    /// A bare `>` was read: the next word is its file.
    file_follows: bool,
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
        if bare.starts_with(['>', '<']) {
            self.file_follows = bare.trim_start_matches(['>', '<']).is_empty();
        } else if !word.is_empty() && !std::mem::take(&mut self.file_follows) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        // of `$(`
        self.word.truncate(self.word.trim_end_matches('$').len());
        self.end_word();
        self.file_follows = false;
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            self.commands.push(words);
        }
    }
}

/// A program's name without its folder.
pub fn program_of(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// May it stand before a command: `sudo`, `-n`, `A=b`, `19`?
fn is_before(word: &str) -> bool {
    BEFORE.contains(&word) || word.starts_with('-') || word.contains('=') || word.bytes().all(|b| b.is_ascii_digit())
}

/// A command from its program on, also where a shell is told to run it.
pub fn bare(words: &[String]) -> &[String] {
    let first = words.iter().position(|word| !is_before(word)).unwrap_or(words.len());
    match &words[first..] {
        [shell, option, rest @ ..] if SHELLS.contains(&program_of(shell)) && is_dash_c(option) => bare(rest),
        words => words,
    }
}

/// `-c`, `-lc`
fn is_dash_c(option: &str) -> bool {
    option.starts_with('-') && option.ends_with('c')
}

/// Would nobody miss it?
pub fn is_quiet(words: &[String]) -> bool {
    let words = bare(words);
    let Some(program) = words.first().map(|word| program_of(word)) else { return true };
    let looks = || words.iter().skip(1).take(2).any(|word| LOOKS.contains(&word.as_str()) || word == "ls");
    QUIET.contains(&program) || program == "docker" && looks()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<String> {
        commands(line).iter().map(|words| words.join(" ")).collect()
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
        ] {
            assert_eq!(is_quiet(&commands(line)[0]), wanted, "{line}");
        }
    }
}
