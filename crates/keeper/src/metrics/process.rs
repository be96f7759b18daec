//! The process's own numbers: from `/proc/self`, but for the start, which the library works out from `/proc/stat`. Below
//! `ProcSubset=pid` that file is not there, and the library would say 1970.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::IntGauge;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;

const START: &str = "process_start_time_seconds";

/// What the library collects, with a start of our own.
#[derive(Debug)]
pub struct Process {
    library: ProcessCollector,
    start: IntGauge,
}

impl Process {
    /// Of this process, which starts now.
    pub fn starting() -> Result<Self, prometheus::Error> {
        let start = IntGauge::new(START, "Start time of the process since unix epoch in seconds.")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        start.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        Ok(Self { library: ProcessCollector::for_self(), start })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        // the library's holds the start's, which is the same
        self.library.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.library.collect();
        families.retain(|family| family.name() != START);
        families.extend(self.start.collect());
        families
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_there_once_and_no_file_of_the_machine_is_needed_for_it() {
        let families = Process::starting().unwrap().collect();
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names.iter().filter(|name| **name == START).count(), 1, "{names:?}");
        assert!(names.contains(&"process_resident_memory_bytes"), "{names:?}");
        let process = Process::starting().unwrap();
        process.start.set(7);
        let told = process.collect().into_iter().find(|family| family.name() == START).unwrap();
        assert_eq!(told.get_metric()[0].get_gauge().get_value(), 7.0);
    }
}
