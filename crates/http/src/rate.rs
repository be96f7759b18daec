//! How often one source may ask: a token bucket per address, in bounded memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Sources remembered at once. Beyond it, those that have been quiet are forgotten first.
const MAX_SOURCES: usize = 4096;

/// So many requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once, after a rest.
    pub burst: f64,
}

/// Counts requests per source.
#[derive(Debug)]
pub struct RateLimiter {
    rate: Option<Rate>,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 10.0, burst: 50.0 }
    }
}

impl RateLimiter {
    /// No limit where there is no rate.
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Takes one request of this source; an error says how long to wait.
    pub fn take(&self, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(rate) = self.rate else { return Ok(()) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let source = network(source);
        if buckets.len() >= MAX_SOURCES && !buckets.contains_key(&source) {
            buckets.retain(|_, bucket| bucket.refilled(rate, now) < rate.burst);
            if buckets.len() >= MAX_SOURCES {
                // a flood from everywhere: start anew rather than grow or shut everybody out
                buckets.clear();
            }
        }
        let bucket = buckets.entry(source).or_insert(Bucket { tokens: rate.burst, at: now });
        bucket.tokens = bucket.refilled(rate, now);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64(((1.0 - bucket.tokens) / rate.per_second).clamp(0.0, 3600.0)));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }
}

impl Bucket {
    fn refilled(&self, rate: Rate, now: Instant) -> f64 {
        let rested = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens + rested * rate.per_second).min(rate.burst)
    }
}

/// One host may have a whole IPv6 /64 to itself.
pub(crate) fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_passes_then_one_has_to_wait_and_others_do_not() {
        let limiter = RateLimiter::new(Some(Rate { per_second: 10.0, burst: 3.0 }));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.take(ip("10.0.0.1"), start), Ok(()));
        }
        let wait = limiter.take(ip("10.0.0.1"), start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(limiter.take(ip("10.0.0.2"), start), Ok(()));
        assert_eq!(limiter.take(ip("10.0.0.1"), start + wait), Ok(()));
        assert!(limiter.take(ip("10.0.0.1"), start + wait).is_err());
    }

    #[test]
    fn a_network_counts_as_one_source_and_so_does_a_mapped_address() {
        let limiter = RateLimiter::new(Some(Rate { per_second: 1.0, burst: 1.0 }));
        let now = Instant::now();
        assert!(limiter.take(ip("2001:db8::1"), now).is_ok());
        assert!(limiter.take(ip("2001:db8::2"), now).is_err());
        assert!(limiter.take(ip("2001:db8:0:1::1"), now).is_ok());
        assert!(limiter.take(ip("10.0.0.1"), now).is_ok());
        assert!(limiter.take(ip("::ffff:10.0.0.1"), now).is_err());
    }

    #[test]
    fn the_memory_is_bounded_and_a_quiet_source_is_forgotten_first() {
        let limiter = RateLimiter::new(Some(Rate { per_second: 1.0, burst: 1.0 }));
        let start = Instant::now();
        for n in 0..MAX_SOURCES as u32 {
            limiter.take(IpAddr::V4((0x0a00_0000 + n).into()), start).unwrap();
        }
        let busy = ip("10.0.0.1");
        let later = start + Duration::from_secs(2);
        limiter.take(busy, later).unwrap();
        limiter.take(ip("192.0.2.1"), later).unwrap();
        assert!(limiter.take(busy, later).is_err(), "the busy one is still remembered");
        assert!(limiter.buckets.lock().unwrap().len() < 10);
    }

    #[test]
    fn a_lifted_limit_is_none() {
        let limiter = RateLimiter::new(None);
        let now = Instant::now();
        assert!((0..1000).all(|_| limiter.take(ip("10.0.0.1"), now).is_ok()));
    }
}
