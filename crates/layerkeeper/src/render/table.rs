//! Columns aligned by what a terminal shows, not by bytes.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Width;

const GAP: &str = "  ";
const INDENT: &str = "  ";

/// On which side a column's cells are flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// What becomes of a last cell that is wider than the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Cut,
}

/// Rows under heads. The last column is wrapped, or cut, where a terminal is too narrow.
#[derive(Debug, Clone)]
pub struct Table {
    overflow: Overflow,
    heads: Vec<&'static str>,
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; without any head there is no head line.
    pub fn new<const N: usize>(columns: [(&'static str, Align); N]) -> Self {
        Self {
            overflow: Overflow::Wrap,
            heads: columns.iter().map(|column| column.0).collect(),
            aligns: columns.iter().map(|column| column.1).collect(),
            rows: Vec::new(),
        }
    }

    /// The same table, whose last column is cut instead: for what serves to recognise a thing, not to explain it.
    pub fn cut(self) -> Self {
        Self { overflow: Overflow::Cut, ..self }
    }

    /// One row more.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| plain(cell)).collect());
    }

    /// Nothing to show?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, indented by two columns, each ending in a line feed.
    pub fn render(&self, width: Width) -> String {
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        let headed = self.heads.iter().any(|head| !head.is_empty());
        let lines: Vec<&Vec<String>> = headed.then_some(&heads).into_iter().chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|column| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.width()).max().unwrap_or(0))
            .collect();
        lines.iter().map(|line| self.line(line, &widths, width)).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize], width: Width) -> String {
        let mut text = INDENT.to_owned();
        let last = cells.len().saturating_sub(1);
        for (column, cell) in cells.iter().take(last).enumerate() {
            let missing = " ".repeat(widths.get(column).copied().unwrap_or(0).saturating_sub(cell.width()));
            match self.aligns.get(column) {
                Some(Align::Right) => text.extend([missing.as_str(), cell]),
                _ => text.extend([cell.as_str(), &missing]),
            }
            text.push_str(GAP);
        }
        let used = text.width();
        let end = cells.last().map_or("", String::as_str);
        let pieces = match (width, self.overflow) {
            (Width::Unbounded, _) => vec![end.to_owned()],
            (Width::Columns(columns), Overflow::Cut) => vec![cut(end, room(columns, used))],
            (Width::Columns(columns), Overflow::Wrap) => wrap(end, room(columns, used)),
        };
        let mut lines = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            let lead = if index == 0 { text.clone() } else { " ".repeat(used) };
            let missing = match self.aligns.get(last) {
                Some(Align::Right) => widths.get(last).copied().unwrap_or(0).saturating_sub(piece.width()),
                _ => 0,
            };
            let line = format!("{lead}{}{piece}", " ".repeat(missing));
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines
    }
}

/// Text from elsewhere, safe to show: no control characters, so that it can neither break a line nor steer a terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What is left of a terminal's line behind `used` columns. Never less than shows something of use; the terminal itself
/// may wrap the line then.
fn room(columns: usize, used: usize) -> usize {
    columns.saturating_sub(used).max(20)
}

fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 1;
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > room {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

/// Lines broken between words; a word that is longer than the room stays whole, so that it can be copied.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= room => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([("NAME", Align::Left), ("SIZE", Align::Right), ("WHY", Align::Left)]);
        table.row(["a".to_owned(), "1.00 kB".to_owned(), "short".to_owned()]);
        table.row(["图像".to_owned(), "9 B".to_owned(), "a much longer reason than fits".to_owned()]);
        table
    }

    #[test]
    fn columns_align_by_what_is_shown() {
        let shown = table().render(Width::Unbounded);
        assert_eq!(
            shown,
            "  NAME     SIZE  WHY\n  a     1.00 kB  short\n  图像      9 B  a much longer reason than fits\n"
        );
    }

    #[test]
    fn the_last_column_is_cut_or_wrapped_to_the_terminal() {
        let shown = table().cut().render(Width::Columns(40));
        assert!(shown.lines().all(|line| line.width() <= 40), "{shown}");
        assert!(shown.ends_with("a much longer reason t…\n"), "{shown}");
        let shown = table().render(Width::Columns(40));
        assert!(shown.ends_with("a much longer reason\n                 than fits\n"), "{shown}");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let mut table = Table::new([("", Align::Left)]);
        table.row(["RUN \u{1b}[31mevil\n\u{7}".to_owned()]);
        assert_eq!(table.render(Width::Unbounded), "  RUN  [31mevil\n");
    }
}
