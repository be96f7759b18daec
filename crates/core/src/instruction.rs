//! The instruction that made a layer, as its author wrote it.

use crate::digest::Digest;

/// So many build arguments are written down of one instruction.
const MOST_ARGUMENTS: usize = 16;
/// What stands for the end of an instruction that was too long.
const CUT: char = '…';

/// Without what the classic builder and BuildKit put around it, on one line.
///
/// The classic builder writes `/bin/sh -c #(nop)  CMD …` for metadata and `/bin/sh -c …` for RUN; BuildKit writes
/// `RUN /bin/sh -c … # buildkit`, and `|2 A=1 B=2 /bin/sh -c …` where build arguments are in scope.
pub fn instruction(created_by: &str) -> String {
    let text = created_by.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.strip_suffix("# buildkit").unwrap_or(&text).trim_end();
    if let Some(metadata) = text.strip_prefix("/bin/sh -c #(nop)") {
        return metadata.trim_start().to_owned();
    }
    let scope = Scope::of(text);
    let runs = scope.is_some() || text.starts_with("RUN ");
    let body = scope.map_or(text, |scope| scope.command);
    let body = body.strip_prefix("RUN ").unwrap_or(body);
    match body.strip_prefix("/bin/sh -c ") {
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

/// The build arguments that were in scope, with what is known of their values.
pub fn arguments(created_by: &str) -> Vec<(&str, &str)> {
    Scope::of(created_by).map(|scope| scope.arguments).unwrap_or_default()
}

/// With a mark in place of each build argument's value, which is long or a secret and nobody's business: enough to see that
/// it changed. Beside it, how many bytes stand before the command.
pub fn without_values(created_by: &str) -> (String, usize) {
    let Some(Scope { before, mut arguments, command }) = Scope::of(created_by) else {
        return (created_by.to_owned(), 0);
    };
    arguments.truncate(MOST_ARGUMENTS);
    let mark = |value: &str| Digest::of(value.as_bytes()).hex()[..8].to_owned();
    let marks = arguments.iter().map(|(name, value)| format!("{name}={} ", mark(value)));
    let head = format!("{before}|{} {}", arguments.len(), marks.collect::<String>());
    (format!("{head}{command}"), head.len())
}

/// `|2 A=1 B=x y /bin/sh -c make`: how many arguments there are, the arguments without quotes, and the command.
struct Scope<'t> {
    before: &'t str,
    arguments: Vec<(&'t str, &'t str)>,
    command: &'t str,
}

impl<'t> Scope<'t> {
    /// A value may have blanks, so that only the last one's end is looked for: at the shell, or else at a blank. Where fewer
    /// arguments are found than are announced, all the rest is taken for the last one's value.
    fn of(text: &'t str) -> Option<Self> {
        let (before, rest) = text.split_at(if text.starts_with("RUN ") { 4 } else { 0 });
        let (count, rest) = rest.strip_prefix('|')?.split_once(' ')?;
        let count: usize = count.parse().ok()?;
        let mut starts = Vec::new();
        let mut at = 0;
        for word in rest.split(' ') {
            if starts.len() < count && word.split_once('=').is_some_and(|(name, _)| is_name(name)) {
                starts.push(at);
            }
            at += word.len() + 1;
        }
        let last = starts.last().copied().unwrap_or(0);
        let end = match rest[last..].find(" /bin/sh -c ").or_else(|| rest[last..].find(' ')) {
            Some(end) if starts.len() == count => last + end,
            _ => rest.len(),
        };
        let ends = starts.iter().skip(1).map(|next| next - 1).chain([end]);
        let arguments = starts.iter().zip(ends).filter_map(|(start, end)| rest[*start..end].split_once('='));
        Some(Self { before, arguments: arguments.collect(), command: rest[end..].trim_start() })
    }
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
        ] {
            assert_eq!(instruction(given), wanted);
        }
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
