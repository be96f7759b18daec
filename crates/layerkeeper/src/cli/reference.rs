//! `docs/cli.md`, from the very definitions that read the command line.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};

use super::Cli;

/// The whole page. The same on every run.
pub fn cli_reference() -> String {
    let mut root = Cli::command();
    // fills in what clap derives: usage lines, global arguments, help
    root.build();
    let mut text = String::from("# Command line\n\n");
    paragraph(&mut text, root.get_about());
    text.push_str("Every command takes these:\n\n");
    arguments(&mut text, root.get_arguments().filter(|argument| argument.is_global_set()));
    paragraph(&mut text, root.get_after_help());
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let _ = writeln!(text, "## `layerkeeper {}`\n", command.get_name());
        paragraph(&mut text, command.get_about());
        let _ = writeln!(text, "```\n{}\n```\n", usage(command));
        arguments(&mut text, command.get_arguments().filter(|argument| !argument.is_global_set()));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn paragraph(text: &mut String, words: Option<&StyledStr>) {
    if let Some(words) = words {
        let _ = writeln!(text, "{}\n", sentence(&words.to_string()));
    }
}

/// clap takes the full stop away.
fn sentence(words: &str) -> String {
    let words = words.trim();
    if words.ends_with(['.', ']']) { words.to_owned() } else { format!("{words}.") }
}

fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.trim().trim_start_matches("Usage:").trim().to_owned()
}

fn arguments<'a>(text: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let mut any = false;
    for argument in arguments
        .filter(|argument| !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version"))
    {
        any = true;
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, "- `{}`: {}", shape(argument), sentence(&help));
        let defaults = argument.get_default_values();
        if !defaults.is_empty() && argument.get_action().takes_values() {
            let shown: Vec<_> = defaults.iter().map(|value| value.to_string_lossy()).collect();
            let _ = write!(text, " Default: `{}`.", shown.join(" "));
        }
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|_| argument.get_action().takes_values())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() {
            let _ = write!(text, " One of {}.", values.join(", "));
        }
        text.push('\n');
    }
    if any {
        text.push('\n');
    }
}

fn shape(argument: &Arg) -> String {
    let names: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    let many = if argument.get_num_args().is_some_and(|number| number.max_values() > 1) { "…" } else { "" };
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("--{long} {}{many}", names.join(" ")),
        Some(long) => format!("--{long}"),
        None => format!("{}{many}", names.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_argument_is_on_the_page() {
        let page = cli_reference();
        assert_eq!(page, cli_reference());
        let root = Cli::command();
        for command in root.get_subcommands() {
            assert!(page.contains(&format!("## `layerkeeper {}`", command.get_name())), "{}", command.get_name());
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                let name = argument.get_long().map_or_else(
                    || argument.get_value_names().unwrap_or_default()[0].to_string(),
                    |long| format!("--{long}"),
                );
                assert!(page.contains(&name), "{name}");
            }
        }
        assert!(!page.contains("--root"), "what is hidden stays hidden");
    }
}
