//! What libFuzzer tells on standard error (`llvm.org/docs/LibFuzzer.html`, "Output").

/// How often a target ran and how many edges of its code it saw.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub executions: u64,
    pub edges: u64,
}

/// Reads the numbers of a whole run; the last ones count.
pub fn read(text: &str) -> Option<Told> {
    // `#1234	DONE   cov: 567 ft: 890 corp: 12/34b …`
    let edges = text.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once(" cov: ")?;
        rest.split_whitespace().next()?.parse().ok()
    })?;
    // other lines begin with a row of them
    let executions =
        text.lines().rev().find_map(|line| line.strip_prefix('#')?.split_whitespace().next()?.parse().ok())?;
    Some(Told { executions, edges })
}

/// The part that says why a run ended.
pub fn end_of(text: &str) -> String {
    const SHOWN: usize = 60;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_numbers_of_a_run_are_read() {
        let text = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                    #512\tNEW    cov: 31 ft: 40 corp: 3/9b lim: 4 exec/s: 0 rss: 31Mb L: 4/4 MS: 1 InsertByte-\n\
                    #4096\tDONE   cov: 32 ft: 50 corp: 4/12b lim: 4 exec/s: 2048 rss: 31Mb\n\
                    ###### Recommended dictionary. ######\n\"ab\" # Uses: 3\n\
                    ###### End of recommended dictionary. ######\nDone 4096 runs in 2 second(s)\nstat::number_of_executed_units: 4096\n";
        assert_eq!(read(text), Some(Told { executions: 4096, edges: 32 }));
        assert_eq!(read("panicked at x"), None);
        assert_eq!(end_of(text).lines().count(), 9);
    }
}
