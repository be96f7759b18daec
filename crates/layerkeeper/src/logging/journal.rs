//! The journal's own line format: `<N>` in front says the level (`sd-daemon(3)`), the time is the journal's.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::render::table::plain;

/// Writes events as lines for the journal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Journal;

/// A layer that writes so.
pub fn layer<S, W>(to: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    tracing_subscriber::fmt::layer().with_ansi(false).with_writer(to).event_format(Journal)
}

/// The syslog priority of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        context.format_fields(Writer::new(&mut line), event)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<tracing_subscriber::fmt::FormattedFields<N>>()
                && !fields.is_empty()
            {
                line.push(' ');
                line.push_str(fields);
            }
        }
        // every line of the journal stands alone: a second one could have any level, and journalctl shows a line with
        // other control characters as "blob data"
        writeln!(to, "<{}>{}", priority(*event.metadata().level()), plain(&line))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while this runs.
    fn written(log: impl FnOnce()) -> String {
        let page = Page::default();
        let to = page.clone();
        let subscriber = tracing_subscriber::registry().with(layer(move || to.clone()));
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_has_its_level_its_fields_and_no_time() {
        let shown = written(|| {
            let _job = tracing::info_span!("job", job = "0a0b").entered();
            tracing::warn!(moved_bytes = 7, "the pull was cut\nand will be tried again");
            tracing::error!("no");
        });
        assert_eq!(
            shown,
            "<4>the pull was cut and will be tried again moved_bytes=7 job=\"0a0b\"\n<3>no job=\"0a0b\"\n"
        );
    }

    #[test]
    fn no_text_from_elsewhere_begins_a_line_of_its_own_or_hides_one() {
        let hostile = "denied\r\n<6>deployed\u{1b}[2K\u{7}\0\u{85}";
        let shown = written(|| tracing::error!(error = %hostile, detail = hostile, "failed"));
        assert_eq!(shown.lines().count(), 1, "{shown:?}");
        assert!(shown.starts_with("<3>failed ") && shown.ends_with('\n'), "{shown:?}");
        assert!(!shown.trim_end_matches('\n').contains(char::is_control), "{shown:?}");
    }
}
