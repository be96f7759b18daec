//! Amounts of bytes, as people write and read them: GB = 10⁹, GiB = 2³⁰.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Bytes(pub u64);

/// Why a text is not an amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size; write a number with a unit, like \"300 MB\" (10⁶), \"4 GB\" (10⁹) or \"2 GiB\" (2³⁰)")]
pub struct BytesError(pub String);

impl Bytes {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The difference, or zero where `other` is larger.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This over `whole`, 0 to 1; 1 where `whole` is nothing.
    pub fn ratio_of(self, whole: Self) -> f64 {
        if whole.0 == 0 { 1.0 } else { self.0 as f64 / whole.0 as f64 }
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, BytesError> {
        let bad = || BytesError(text.to_owned());
        let text_ = text.trim();
        let split = text_.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text_.len());
        let (number, unit) = text_.split_at(split);
        let factor: u64 = match unit.trim() {
            "B" | "" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(bad()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(bad);
        }
        let value: f64 = number.parse().map_err(|_| bad())?;
        let bytes = value * factor as f64;
        if bytes.is_finite() && bytes >= 0.0 && bytes < u64::MAX as f64 { Ok(Self(bytes as u64)) } else { Err(bad()) }
    }
}

impl fmt::Display for Bytes {
    /// Decimal units, as docker and registries print them: `999 B`, `12.3 kB`, `214 MB`, `3.41 GB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];
        if self.0 < 1000 {
            return f.pad(&format!("{} B", self.0));
        }
        let value = self.0 as f64;
        // 999.5 would print as "1000": such values belong to the next unit
        let (unit, factor) = units.into_iter().find(|(_, factor)| value / factor < 999.5).unwrap_or(("TB", 1e12));
        let scaled = value / factor;
        let text = if scaled < 9.995 {
            format!("{scaled:.2} {unit}")
        } else if scaled < 99.95 {
            format!("{scaled:.1} {unit}")
        } else {
            format!("{scaled:.0} {unit}")
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_decimal_and_binary_units() {
        assert_eq!("4 GB".parse(), Ok(Bytes(4_000_000_000)));
        assert_eq!("2GiB".parse(), Ok(Bytes(2 << 30)));
        assert_eq!("1.5 MB".parse(), Ok(Bytes(1_500_000)));
        assert_eq!("17".parse(), Ok(Bytes(17)));
        for bad in ["", "GB", "4 gigs", "-1 GB", "99999999999999999999 TB", "1..2 MB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_print_with_three_digits() {
        let shown = |n| Bytes(n).to_string();
        assert_eq!(shown(999), "999 B");
        assert_eq!(shown(1000), "1.00 kB");
        assert_eq!(shown(12_345), "12.3 kB");
        assert_eq!(shown(999_999), "1.00 MB");
        assert_eq!(shown(214_000_000), "214 MB");
        assert_eq!(shown(3_412_000_000), "3.41 GB");
    }
}
