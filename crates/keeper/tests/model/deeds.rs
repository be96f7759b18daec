//! What others do in the very moment when a job comes to a point.

use std::sync::{Arc, Mutex};

type Deed = Box<dyn FnOnce() + Send>;

/// Deeds that wait for their moment.
#[derive(Clone, Default)]
pub struct Deeds(Arc<Mutex<Vec<(&'static str, Deed)>>>);

impl Deeds {
    /// This is done once, when a job next comes to this point.
    pub fn add(&self, point: &'static str, deed: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().push((point, Box::new(deed)));
    }

    /// A job is at this point.
    pub fn at(&self, point: &str) {
        let due: Vec<_> = self.0.lock().unwrap().extract_if(.., |(at, _)| *at == point).collect();
        due.into_iter().for_each(|(_, deed)| deed());
    }
}
