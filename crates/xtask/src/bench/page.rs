//! The page of results: a head, and a section per measurement. A section that was measured alone is put in the place of the
//! one that was there, and says so; the others stay as they are.

/// Puts a section (from its `## ` on) into the page: over the one with the same title, else at the end.
pub fn put(page: &str, title: &str, section: &str) -> String {
    let heading = format!("## {title}\n");
    let mut parts: Vec<&str> = parts(page);
    match parts.iter().position(|part| part.starts_with(&heading)) {
        Some(at) => parts[at] = section,
        None => parts.push(section),
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    parts.join("\n\n") + "\n"
}

/// The sections whose titles begin so: the title, and the section from its `## ` on.
pub fn sections<'p>(page: &'p str, begin: &str) -> Vec<(&'p str, &'p str)> {
    let titled = |part: &'p str| Some((part.strip_prefix("## ")?.lines().next()?, part));
    parts(page).into_iter().filter_map(titled).filter(|(title, _)| title.starts_with(begin)).collect()
}

/// The head, then each section.
fn parts(page: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find("\n## ") {
        parts.push(&rest[..at]);
        rest = &rest[at + 1..];
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_one_before_and_the_others_stay() {
        let page = "# P\n\nhead\n\n## A\n\na\n\n## AB\n\n```\n# no heading\n```\n";
        assert_eq!(put(page, "A", "## A\n\nnew\n"), page.replace("\na\n", "\nnew\n"));
        assert_eq!(put(page, "AB", "## AB\n\nnew\n"), "# P\n\nhead\n\n## A\n\na\n\n## AB\n\nnew\n");
        let titles = |begin| sections(page, begin).into_iter().map(|(title, _)| title).collect::<Vec<_>>();
        assert_eq!((titles("A"), titles("C")), (vec!["A", "AB"], vec![]));
        assert_eq!(sections(page, "A")[0].1, "## A\n\na\n");
        assert_eq!(put(page, "C", "## C\n\nnew\n"), format!("{page}\n## C\n\nnew\n"));
    }
}
