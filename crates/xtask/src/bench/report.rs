//! A section of the page: text, tables, and targets met or missed.

/// One measurement, as Markdown.
#[derive(Debug)]
pub struct Section {
    title: String,
    blocks: Vec<String>,
    targets: Vec<Vec<String>>,
    /// The targets that were missed, in words.
    pub missed: Vec<String>,
}

impl Section {
    /// An empty one.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), blocks: Vec::new(), targets: Vec::new(), missed: Vec::new() }
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) {
        self.blocks.push(text.into());
    }

    /// Adds a table.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.blocks.push(table(head, rows));
    }

    /// Adds a target: this figure should be at most that.
    pub fn target(&mut self, what: &str, measured: f64, most: f64, unit: &str, digits: usize) {
        self.judged(
            what,
            measured <= most,
            format!("{measured:.digits$}{unit}"),
            ("most", '≤', format!("{most}{unit}")),
        );
    }

    /// Adds a target: this figure should be at least that.
    pub fn target_least(&mut self, what: &str, measured: f64, least: f64, unit: &str, digits: usize) {
        let wanted = ("least", '≥', format!("{least}{unit}"));
        self.judged(what, measured >= least, format!("{measured:.digits$}{unit}"), wanted);
    }

    fn judged(&mut self, what: &str, met: bool, measured: String, (word, sign, wanted): (&str, char, String)) {
        if !met {
            self.missed.push(format!("{what} is {measured} and should be at {word} {wanted}"));
        }
        let verdict = if met { "met" } else { "**missed**" };
        self.targets.push(vec![what.to_owned(), measured, format!("{sign} {wanted}"), verdict.to_owned()]);
    }

    /// All of it; the targets come first.
    pub fn markdown(&self) -> String {
        let mut blocks = vec![format!("## {}", self.title)];
        if !self.targets.is_empty() {
            blocks.push(table(&["target", "measured", "wanted", ""], &self.targets));
        }
        blocks.extend(self.blocks.iter().cloned());
        blocks.join("\n\n") + "\n"
    }
}

/// A Markdown table whose columns line up in the source, too.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:<width$} |"));
        format!("|{}", cells.collect::<String>())
    };
    let rule = format!("|{}", widths.iter().map(|&width| format!("{}|", "-".repeat(width + 2))).collect::<String>());
    let lines = [line(&head), rule].into_iter().chain(rows.iter().map(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_shows_its_targets_first_and_remembers_the_missed() {
        let mut section = Section::new("Idle");
        section.table(&["a", "b"], &[vec!["1".into(), "22222".into()]]);
        section.target("memory", 17.04, 16.0, " MiB", 1);
        section.target("binary", 12.0, 20.0, " MiB", 1);
        section.target_least("faster", 2.5, 3.0, " ×", 1);
        section.target_least("fast", 3.0, 3.0, " ×", 1);
        let text = section.markdown();
        assert!(text.starts_with("## Idle\n\n| target | measured | wanted   |            |\n|--------|"), "{text}");
        assert!(text.contains("| memory | 17.0 MiB | ≤ 16 MiB | **missed** |\n"), "{text}");
        assert!(text.ends_with("\n\n| a   | b     |\n|-----|-------|\n| 1   | 22222 |\n"), "{text}");
        assert!(text.contains("| faster | 2.5 ×    | ≥ 3 ×    | **missed** |\n"), "{text}");
        let missed = ["memory is 17.0 MiB and should be at most 16 MiB", "faster is 2.5 × and should be at least 3 ×"];
        assert_eq!(section.missed, missed);
    }
}
