//! Numbers that were measured several times.

use std::time::Duration;

/// Sorted, and never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// None where nothing was measured.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    /// In milliseconds.
    pub fn of_times(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::new(times.into_iter().map(|time| time.as_secs_f64() * 1e3))
    }

    /// The value that this share (0 to 1) of all values does not exceed, by nearest rank.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// The middle one; between the middle two where their number is even.
    pub fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[half] } else { f64::midpoint(self.0[half - 1], self.0[half]) }
    }

    /// The smallest.
    pub fn least(&self) -> f64 {
        self.0[0]
    }

    /// The largest.
    pub fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// `median (least–most)`, with so many digits after the point.
    pub fn shown(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median(), self.least(), self.most())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        let samples = Samples::new([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((samples.median(), samples.least(), samples.most()), (2.0, 1.0, 3.0));
        assert_eq!(Samples::new([4.0, 1.0, 2.0, 3.0]).unwrap().median(), 2.5);
        let hundred = Samples::new((1..=100).map(f64::from)).unwrap();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| hundred.quantile(share)), [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(Samples::new([]), None);
        assert_eq!(Samples::of_times([Duration::from_micros(1500)]).unwrap().shown(1), "1.5 (1.5–1.5)");
    }
}
