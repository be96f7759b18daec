//! What a test has logged.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

thread_local! {
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Where log lines go: into the memory of the thread that wrote them, if it wants them.
struct ThreadsOwn;

impl Write for ThreadsOwn {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.with_borrow_mut(|log| log.iter_mut().for_each(|log| log.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From here on this test's thread remembers what it logs. One subscriber serves all tests: one per thread would lose
/// lines, for whether a line is wanted at all is remembered for the whole process.
pub fn remember_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        tracing::subscriber::set_global_default(subscriber.with_writer(|| ThreadsOwn).finish()).unwrap();
        tracing::callsite::rebuild_interest_cache();
    });
    LOGGED.with_borrow_mut(|log| *log = Some(Vec::new()));
}

/// What this test's thread has logged.
pub fn logged() -> String {
    LOGGED.with_borrow(|log| String::from_utf8(log.clone().unwrap_or_default()).unwrap())
}
