//! The instruction that made a layer, as its author wrote it.

use crate::digest::Digest;

/// So many build arguments are written down of one instruction.
const MOST_ARGUMENTS: usize = 16;
/// What stands for the end of an instruction that was too long, and for what cannot be told apart from a value.
const CUT: char = '…';
/// What runs a script behind `-c`.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "pwsh"];
/// So many words at most stand between a shell and its `-c`.
const MOST_OPTIONS: usize = 12;

/// Without what the classic builder and BuildKit put around it, on one line.
///
/// The classic builder writes `/bin/sh -c #(nop)  CMD …` for metadata and `/bin/sh -c …` for RUN; BuildKit writes
/// `RUN /bin/sh -c … # buildkit`, and `|2 A=1 B=2 /bin/sh -c …` where build arguments are in scope. Where it is not sure where
/// their values end, it begins with `RUN …`, and what may be a value is left out.
pub fn instruction(created_by: &str) -> String {
    let text = created_by.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.strip_suffix("# buildkit").unwrap_or(&text).trim_end();
    if let Some(metadata) = text.strip_prefix("/bin/sh -c #(nop)") {
        return metadata.trim_start().to_owned();
    }
    let scope = Scope::of(text);
    let runs = scope.is_some() || text.starts_with("RUN ");
    let is_sure = scope.as_ref().is_none_or(|scope| scope.is_sure);
    let body = scope.map_or(text, |scope| scope.command);
    let body = body.strip_prefix("RUN ").unwrap_or(body);
    match body.strip_prefix("/bin/sh -c ") {
        _ if !is_sure => format!("RUN {CUT} {body}").trim_end().to_owned(),
        Some(command) => format!("RUN {command}"),
        None if runs => format!("RUN {body}"),
        None => body.to_owned(),
    }
}

/// The words by which two instructions are the same one: as [`instruction`], and without the hash of what the classic builder
/// copied (`COPY dir:0123… in /app`).
pub fn alike(created_by: &str) -> String {
    let kinds = ["dir:", "file:", "multi:"];
    let bare = |word: &str| match kinds.iter().find(|kind| word.starts_with(**kind)) {
        Some(kind) => format!("{kind}{CUT}"),
        None => word.to_owned(),
    };
    instruction(created_by).split(' ').map(bare).collect::<Vec<_>>().join(" ")
}

/// Was it too long to be written down whole?
pub fn is_cut(created_by: &str) -> bool {
    created_by.ends_with(CUT)
}

/// Is it sure where its build arguments end and its command begins? Else nothing can be said of either by comparing.
pub fn is_told_apart(created_by: &str) -> bool {
    Scope::of(created_by).is_none_or(|scope| scope.is_sure)
}

/// The build arguments that were in scope, with what is known of their values.
pub fn arguments(created_by: &str) -> Vec<(&str, &str)> {
    Scope::of(created_by).map(|scope| scope.arguments).unwrap_or_default()
}

/// With a mark in place of each build argument's value, which is long or a secret and nobody's business: enough to see that
/// it changed. Beside it, how many bytes stand before the command.
pub fn without_values(created_by: &str) -> (String, usize) {
    let Some(Scope { before, mut arguments, command, is_sure }) = Scope::of(created_by) else {
        return (created_by.to_owned(), 0);
    };
    arguments.truncate(MOST_ARGUMENTS);
    let mark = |value: &str| Digest::of(value.as_bytes()).hex()[..8].to_owned();
    let marks = arguments.iter().map(|(name, value)| format!("{name}={} ", mark(value)));
    let mut head = format!("{before}|{} {}", arguments.len(), marks.collect::<String>());
    if !is_sure {
        head.extend([CUT, ' ']);
    }
    (format!("{head}{command}"), head.len())
}

/// `|2 A=1 B=x y /bin/sh -c make`: how many arguments there are, the arguments without quotes, and the command.
struct Scope<'t> {
    before: &'t str,
    arguments: Vec<(&'t str, &'t str)>,
    command: &'t str,
    /// Nothing else can be meant.
    is_sure: bool,
}

impl<'t> Scope<'t> {
    /// A value may have blanks and anything else, so the end of the last one is where a shell is told to run a script. Where
    /// there are several such places, one of them may stand in a value: all before the last is taken for values. Where there is
    /// none (the exec form), everything is. Other words with `=` than arguments may stand in values, too: where there are not as
    /// many of them as were announced, all is taken for the first one's value.
    fn of(text: &'t str) -> Option<Self> {
        let (before, rest) = text.split_at(if text.starts_with("RUN ") { 4 } else { 0 });
        let (count, rest) = rest.strip_prefix('|')?.split_once(' ')?;
        let count: usize = count.parse().ok()?;
        let words = words(rest);
        let shells = shells(&words);
        let end = shells.last().map_or(rest.len(), |shell| words[*shell].0);
        let is_argument = |word: &str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
        let mut starts: Vec<usize> =
            words.iter().filter(|(at, word)| *at < end && is_argument(word)).map(|(at, _)| *at).collect();
        let are_known = starts.len() == count || count == 1 && !starts.is_empty();
        if starts.len() != count {
            starts.truncate(1);
        }
        let is_sure = shells.len() == 1 && are_known && !rest[..end].trim_end().ends_with(CUT);
        let ends = starts.iter().skip(1).copied().chain([end]);
        let arguments = starts.iter().zip(ends).filter_map(|(start, end)| rest[*start..end].trim_end().split_once('='));
        Some(Self { before, arguments: arguments.collect(), command: &rest[end..], is_sure })
    }
}

/// The words of a text, each with where it begins.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut end = 0;
    let pieces = text.split_inclusive(char::is_whitespace).map(|piece| {
        end += piece.len();
        (end - piece.len(), piece.trim_end())
    });
    pieces.filter(|(_, word)| !word.is_empty()).collect()
}

/// The words that are shells told to run a script. One without a path only where none has one: `bash -c` often stands within
/// a script.
fn shells(words: &[(usize, &str)]) -> Vec<usize> {
    let all = (0..words.len()).filter(|at| runs_script(&words[*at..]));
    let (by_path, bare): (Vec<usize>, Vec<usize>) = all.partition(|at| words[*at].1.starts_with('/'));
    if by_path.is_empty() { bare } else { by_path }
}

/// `/bin/sh -c …`, `/bin/bash -euo pipefail -c …`
fn runs_script(words: &[(usize, &str)]) -> bool {
    let mut words = words.iter().map(|(_, word)| *word).take(MOST_OPTIONS);
    let is_shell = words.next().is_some_and(|shell| match shell.rsplit_once('/') {
        Some((_, name)) => shell.starts_with('/') && SHELLS.contains(&name),
        None => SHELLS.contains(&shell),
    });
    while let Some(option) = words.next().filter(|word| is_shell && word.starts_with('-')) {
        let is_long = option.starts_with("--");
        if option.eq_ignore_ascii_case("-command") || !is_long && option.ends_with('c') {
            return true;
        }
        if !is_long && option.ends_with(['o', 'O']) {
            words.next();
        }
    }
    false
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_builders_instructions_read_as_written() {
        for (given, wanted) in [
            ("/bin/sh -c #(nop)  CMD [\"bash\"]", "CMD [\"bash\"]"),
            ("/bin/sh -c apt-get update   && apt-get install x", "RUN apt-get update && apt-get install x"),
            ("RUN /bin/sh -c pip install torch # buildkit", "RUN pip install torch"),
            ("RUN |2 A=1 B=2 /bin/sh -c make # buildkit", "RUN make"),
            ("|1 A=1 /bin/sh -c make", "RUN make"),
            ("COPY . /app # buildkit", "COPY . /app"),
            ("RUN /bin/bash -c make # buildkit", "RUN /bin/bash -c make"),
            ("RUN |2 A=1 B=2 /bin/bash -c make # buildkit", "RUN /bin/bash -c make"),
            ("RUN |2 A=1 B=x y z /bin/sh -c make # buildkit", "RUN make"),
            (
                "RUN |1 UID=7 /bin/sh -c useradd -s /bin/bash -u $UID app # buildkit",
                "RUN useradd -s /bin/bash -u $UID app",
            ),
            ("RUN |1 A=1 /bin/sh -c set -e && bash -c 'make' # buildkit", "RUN set -e && bash -c 'make'"),
        ] {
            assert_eq!(instruction(given), wanted);
            assert!(is_told_apart(given), "{given}");
        }
    }

    #[test]
    fn a_value_ends_at_the_shell_whichever_it_is_and_never_at_a_blank() {
        for (shell, rest) in [
            ("/bin/bash -o pipefail -c", "pip install x"),
            ("/usr/bin/bash -euxo pipefail -c", "pip install $PIP_EXTRA x"),
            ("/bin/ash -eo pipefail -c", "apk add x"),
            ("/bin/bash --login -c", "make"),
            ("/usr/bin/pwsh -Command", "make"),
            ("bash -c", "make"),
        ] {
            let given = format!("RUN |1 PIP_EXTRA=--index-url https://user:pw@host/simple {shell} {rest} # buildkit");
            let (stored, before) = without_values(&given);
            assert!(!stored.contains("user:pw") && !instruction(&given).contains("user:pw"), "{stored}");
            assert_eq!(&stored[before..], format!("{shell} {rest} # buildkit"));
            assert_eq!(instruction(&stored), format!("RUN {shell} {rest}"));
            assert_eq!(arguments(&stored)[0].0, "PIP_EXTRA");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_from_a_value_is_left_out_and_that_is_seen() {
        for (given, wanted) in [
            // no shell, which is the exec form, or one that we do not know
            ("RUN |1 A=x secret pip install x # buildkit", "RUN …"),
            ("RUN |1 A=x secret /usr/bin/python3 -c pip # buildkit", "RUN …"),
            // a shell in the value, or in the command: nobody knows
            ("RUN |1 A=x /bin/sh -c secret /bin/sh -c make # buildkit", "RUN … /bin/sh -c make"),
            ("RUN |1 A=x /bin/sh -c secret /bin/bash -c make # buildkit", "RUN … /bin/bash -c make"),
            ("|1 A=x secret", "RUN …"),
            // what looks like the name of an argument and is the end of a password
            ("RUN |2 A=Basic secret== B=1 /bin/sh -c make # buildkit", "RUN … /bin/sh -c make"),
            ("RUN |1 secret /bin/sh -c make # buildkit", "RUN … /bin/sh -c make"),
        ] {
            let (stored, _) = without_values(given);
            assert!(!stored.contains("secret"), "{stored}");
            assert_eq!((instruction(given), instruction(&stored)), (wanted.to_owned(), wanted.to_owned()));
            assert!(!is_told_apart(given) && !is_told_apart(&stored), "{stored}");
            assert_eq!(without_values(&stored).0.matches(CUT).count(), 1, "it is the same when it is read again");
        }
        // a value with a `/bin/sh -c` behind its `=` is one
        let given = "RUN |1 RUNNER=/bin/sh -c secret /bin/sh -c make # buildkit";
        assert_eq!(instruction(&without_values(given).0), "RUN make");
        // nobody makes us look far
        assert!(shells(&words(&"sh -o ".repeat(100_000))).is_empty());
    }

    #[test]
    fn what_the_classic_builder_copied_is_no_part_of_the_instruction() {
        let copied = |hash: &str| format!("/bin/sh -c #(nop) COPY dir:{hash} in /app ");
        assert_eq!(alike(&copied("0123")), alike(&copied("4567")));
        assert_eq!(alike(&copied("0123")), "COPY dir:… in /app");
        assert_ne!(alike("COPY a /app # buildkit"), alike("COPY b /app # buildkit"));
    }

    #[test]
    fn a_build_argument_shows_that_its_value_changed_and_never_the_value() {
        let made = |sha: &str| format!("RUN |2 PY=3.11 GIT_SHA={sha} /bin/sh -c pip install torch # buildkit");
        let (one, before) = without_values(&made("ghp_secret of two words"));
        let (other, _) = without_values(&made("def"));
        assert!(!one.contains("secret") && !one.contains("words"), "{one}");
        assert_eq!(&one[before..], "/bin/sh -c pip install torch # buildkit");
        assert_eq!(alike(&one), alike(&other));
        let (mine, theirs) = (arguments(&one), arguments(&other));
        assert_eq!(mine[0], theirs[0]);
        assert_eq!((mine[1].0, theirs[1].0, mine.len()), ("GIT_SHA", "GIT_SHA", 2));
        assert_ne!(mine[1].1, theirs[1].1);
        assert_eq!(without_values("RUN make # buildkit"), ("RUN make # buildkit".to_owned(), 0));
        // what cannot be told apart is hidden all the same
        for odd in ["|2 A=secret /bin/sh -c make", "|1 secret /bin/sh -c make", "RUN |1 A=secret", "|9 A=secret B=x"] {
            assert!(!without_values(odd).0.contains("secret"), "{odd}");
            assert!(!instruction(odd).contains("secret"), "{odd}");
        }
        let many: String = (0..40).map(|n| format!("A{n}=x ")).collect();
        assert_eq!(arguments(&without_values(&format!("|40 {many}/bin/sh -c make")).0).len(), 16);
    }
}
