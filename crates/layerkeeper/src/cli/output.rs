//! The one way out: everything a command prints passes here.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::render::Width;

/// Standard output, or a buffer in tests.
pub struct Output {
    to: Box<dyn Write + Send>,
    json: bool,
    width: Width,
    terminal: bool,
}

impl Output {
    /// This process's standard output.
    pub fn standard(json: bool) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = match rustix::termios::tcgetwinsize(&stdout) {
            Ok(size) if terminal && size.ws_col > 0 => Width::Columns(usize::from(size.ws_col)),
            _ => Width::Unbounded,
        };
        Self { to: Box::new(stdout), json, width, terminal }
    }

    /// Somewhere else, as if it were a pipe.
    pub fn to(to: impl Write + Send + 'static, json: bool) -> Self {
        Self { to: Box::new(to), json, width: Width::Unbounded, terminal: false }
    }

    /// Facts are wanted as JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A person watches: progress may be drawn.
    pub fn is_terminal(&self) -> bool {
        self.terminal && !self.json
    }

    /// How wide a line may be.
    pub fn width(&self) -> Width {
        self.width
    }

    /// Facts: as JSON where that is wanted, else as `text` shows them.
    ///
    /// # Errors
    /// What the writer says; a closed pipe too, which ends a command without noise ([`is_closed`]).
    pub fn facts<T: Serialize>(&mut self, facts: &T, text: impl FnOnce(&T, Width) -> String) -> io::Result<()> {
        if self.json {
            serde_json::to_writer_pretty(&mut self.to, facts)?;
            self.to.write_all(b"\n")?;
        } else {
            self.to.write_all(text(facts, self.width).as_bytes())?;
        }
        self.to.flush()
    }

    /// A line for people; nothing where JSON is wanted.
    ///
    /// # Errors
    /// As for [`Output::facts`].
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(self.to, "{line}")?;
        self.to.flush()
    }

    /// A text as it is, such as a script.
    ///
    /// # Errors
    /// As for [`Output::facts`].
    pub fn raw(&mut self, text: &[u8]) -> io::Result<()> {
        self.to.write_all(text)?;
        self.to.flush()
    }
}

/// Did the reader go away, as `head` does? Nobody is left to tell.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn json_is_all_that_is_printed_where_it_is_wanted() {
        let page = Page::default();
        let mut output = Output::to(page.clone(), true);
        output.line("for people").unwrap();
        output.facts(&[1], |_, _| "for people".to_owned()).unwrap();
        assert_eq!(page.0.lock().unwrap().as_slice(), b"[\n  1\n]\n");
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_errors_in_text_and_in_json() {
        for json in [false, true] {
            let error = Output::to(Closed, json).facts(&1, |_, _| "x".to_owned()).unwrap_err();
            assert!(is_closed(&error), "{error}");
        }
    }
}
