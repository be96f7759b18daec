//! Lines of a crontab, `crontab(5)`.

use super::aim::Aim;

/// A line that runs something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1 on.
    pub line: usize,
    /// Five fields, or a word such as `@daily`.
    pub schedule: String,
    /// As whom, where the crontab says it.
    pub user: Option<String>,
    /// What is run.
    pub command: String,
    /// Where the lines before it lead `docker`.
    pub aim: Aim,
}

/// Reads a crontab. System crontabs name a user between the time and the command.
pub fn entries(text: &str, with_user: bool) -> Vec<Entry> {
    let mut aim = Aim::default();
    let read = |(index, line): (usize, &str)| {
        aim.set(line);
        entry(index + 1, line.trim(), with_user, &aim)
    };
    text.lines().enumerate().filter_map(read).collect()
}

fn entry(line: usize, text: &str, with_user: bool, aim: &Aim) -> Option<Entry> {
    let fields = if text.starts_with('@') { 1 } else { 5 };
    // a comment, or NAME=value
    let begins = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '*' | '@'));
    begins.then_some(())?;
    let (schedule, mut rest) = take(text, fields)?;
    let mut user = None;
    if with_user {
        let (name, command) = take(rest, 1)?;
        (user, rest) = (Some(name), command);
    }
    let command = before_input(rest).trim().replace("\\%", "%");
    (!command.is_empty()).then(|| Entry { line, schedule, user, command, aim: aim.clone() })
}

/// What follows a percent sign is the command's input, unless a backslash stands before it.
fn before_input(text: &str) -> &str {
    let end = text.match_indices('%').find(|(at, _)| !text[..*at].ends_with('\\'));
    end.map_or(text, |(at, _)| &text[..at])
}

/// The first words, with one blank between them, and the rest.
fn take(text: &str, words: usize) -> Option<(String, &str)> {
    let (mut taken, mut rest) = (Vec::new(), text.trim_start());
    for _ in 0..words {
        let end = rest.find(char::is_whitespace)?;
        taken.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    Some((taken.join(" "), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_and_without_a_user() {
        let text = "# 0 3 * * * root no\nSHELL=/bin/sh\n\n0\t3 * *  * root docker system prune -af\n\
                    @daily root /usr/local/bin/clean now % input\n0 3 * * * root\n*/5 * * * * me true\n";
        let system = entries(text, true);
        let wanted = [
            (4, "0 3 * * *", "docker system prune -af"),
            (5, "@daily", "/usr/local/bin/clean now"),
            (7, "*/5 * * * *", "true"),
        ];
        assert_eq!(system.len(), wanted.len(), "{system:?}");
        for (entry, (line, schedule, command)) in system.iter().zip(wanted) {
            assert_eq!((entry.line, &*entry.schedule, &*entry.command), (line, schedule, command));
        }
        let own = entries("0 3 * * * docker image prune -f\n", false);
        assert_eq!(own[0].command, "docker image prune -f");
        let led = entries("@daily true\nDOCKER_HOST = 'ssh://web2'\n@daily docker image prune -f\n", false);
        assert_eq!(led.iter().map(|entry| entry.aim.is_elsewhere()).collect::<Vec<_>>(), [false, true]);
        let dated = entries("0 3 * * * backup-$(date +\\%F) && docker system prune -af % input\n", false);
        assert_eq!(dated[0].command, "backup-$(date +%F) && docker system prune -af");
    }
}
