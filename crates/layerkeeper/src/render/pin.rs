//! A pin that was written, taken out, or there already.

use serde::Serialize;

use super::table::plain;

/// What `layerkeeper pin` did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pinned {
    /// The kept image, as the configuration has it.
    pub image: String,
    /// What pins it: `digest` or `quarter`.
    pub key: &'static str,
    /// The configuration's file.
    pub file: String,
    /// The file was changed.
    pub changed: bool,
    /// The pin before.
    pub old: Option<String>,
    /// The pin now.
    pub new: Option<String>,
    /// The image was found here under the new pin; absent where nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_here: Option<bool>,
    /// The line that changed, from 1.
    pub line: Option<usize>,
    /// It before; none where it is new.
    pub removed_line: Option<String>,
    /// It now; none where it went.
    pub added_line: Option<String>,
}

/// What changed, line by line, and what makes it count.
pub fn pin(pinned: &Pinned) -> String {
    let image = &pinned.image;
    let here = if pinned.is_here == Some(true) { ", which is here" } else { "" };
    let said = match (&pinned.old, &pinned.new) {
        (_, Some(new)) if pinned.key == "quarter" && !pinned.changed => {
            format!("{image} stays at {new} already; nothing was written.\n")
        }
        (old, Some(new)) if pinned.key == "quarter" => {
            let before = old.as_ref().map_or_else(|| "the newest".to_owned(), Clone::clone);
            format!(
                "{image} stays at {new} from now on; it was {before}. What is kept now stays so until that is here.\n"
            )
        }
        (old, None) if pinned.key == "quarter" => match old {
            Some(old) => format!("{image} stayed at {old} and follows the newest quarter again.\n"),
            None => format!("{image} follows the newest quarter; nothing was written.\n"),
        },
        (_, Some(new)) if !pinned.changed => format!("{image} is pinned to {new} already; nothing was written.\n"),
        (_, None) if !pinned.changed => format!("{image} is not pinned; nothing was written.\n"),
        (Some(old), Some(new)) => format!("{image} was pinned to {old} and is now pinned to {new}{here}.\n"),
        (None, Some(new)) => format!("{image} is now pinned to {new}{here}.\n"),
        (Some(old), None) => format!("{image} was pinned to {old} and is pinned no more: its tag is followed again.\n"),
        (None, None) => format!("{image} is not pinned.\n"),
    };
    if !pinned.changed {
        return said;
    }
    let line = pinned.line.map(|line| format!(":{line}")).unwrap_or_default();
    let marked = |mark: &str, line: &Option<String>| match line {
        Some(line) => format!("{mark} {}\n", plain(line)),
        None => String::new(),
    };
    format!(
        "{said}\n{}{line}\n{}{}\nIt counts after `systemctl reload layerkeeper`.\n",
        plain(&pinned.file),
        marked("-", &pinned.removed_line),
        marked("+", &pinned.added_line)
    )
}
