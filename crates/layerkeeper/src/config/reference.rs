//! What people read about the configuration, made from the table of keys: `config/layerkeeper.toml` and
//! `docs/configuration.md`. Both are the same on every run.

use std::fmt::Write as _;

use super::keys::{self, Fallback, Key, Table};

const WIDTH: usize = 110;

/// `config/layerkeeper.toml`: every key, commented out at its default, and example blocks, commented out as a whole.
pub fn default_file() -> String {
    let mut text = String::from(
        "# layerkeeper's configuration. Every key is here, commented out at its default; the last two blocks are examples.\n\
         # `layerkeeper check-config` says what is wrong with it, `systemctl reload layerkeeper` takes it over.\n",
    );
    for table in keys::TABLES {
        text.push('\n');
        comment(&mut text, table.help);
        let head = head(table);
        let _ = if table.repeated { writeln!(text, "#{head}") } else { writeln!(text, "{head}") };
        for key in keys::of(table.name) {
            comment(&mut text, &help_with_default(key));
            let _ = writeln!(text, "#{} = {}", key.name, key.shown_value());
        }
    }
    text
}

/// `docs/configuration.md`.
pub fn configuration_reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         layerkeeper reads one TOML file, `/etc/layerkeeper/layerkeeper.toml` unless `--config` names another. \
         A key that is left out has its default; a key that nobody knows is an error. \
         `layerkeeper check-config` lists everything that is wrong, with file, line and key, and exits with 2. \
         `systemctl reload layerkeeper` (SIGHUP) takes a changed file over; a bad one changes nothing.\n\n\
         Sizes have a unit (`\"300 MB\"` = 3·10⁸ bytes, `\"2 GiB\"` = 2·2³⁰), durations too (`\"10m\"`, `\"24h\"`, `\"1h 30m\"`). \
         Paths are absolute. Image names are compared as Docker normalises them (`nginx:1` is `docker.io/library/nginx:1`).\n",
    );
    for table in keys::TABLES {
        let _ = write!(
            text,
            "\n## `{}`\n\n{}\n\n| key | takes | default | meaning |\n|---|---|---|---|\n",
            head(table),
            table.help
        );
        for key in keys::of(table.name) {
            let default = match key.default {
                Fallback::Is(value) => format!("`{value}`"),
                Fallback::From(words) => words.to_owned(),
                Fallback::Required => "must be given".to_owned(),
            };
            let _ = writeln!(text, "| `{}` | {} | {default} | {} |", key.name, key.kind, key.help);
        }
    }
    text
}

fn head(table: &Table) -> String {
    if table.repeated { format!("[[{}]]", table.name) } else { format!("[{}]", table.name) }
}

fn help_with_default(key: &Key) -> String {
    match key.default {
        Fallback::Is(_) => key.help.to_owned(),
        Fallback::From(words) => format!("{} Default: {words}.", key.help),
        Fallback::Required => format!("{} Must be given.", key.help),
    }
}

fn comment(text: &mut String, prose: &str) {
    let mut line = String::from("#");
    for word in prose.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
