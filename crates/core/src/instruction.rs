//! The instruction that made a layer, as its author wrote it.

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
    let (lead, body) = match text.strip_prefix("RUN ") {
        Some(body) => (true, body),
        None => (false, text),
    };
    let without_arguments = match body.find("/bin/sh -c ") {
        Some(0) => Some(body),
        Some(at) if body.starts_with('|') => Some(&body[at..]),
        _ => None,
    };
    match without_arguments.and_then(|body| body.strip_prefix("/bin/sh -c ")) {
        Some(command) => format!("RUN {command}"),
        None if lead => format!("RUN {body}"),
        None => body.to_owned(),
    }
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
        ] {
            assert_eq!(instruction(given), wanted);
        }
    }
}
