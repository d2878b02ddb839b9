//! Points in time, as dumps and logs have them: UTC, without leap seconds.

use std::fmt;

/// A point in time, in UTC.
///
/// ```
/// use ntheap::time::UtcTime;
///
/// let time = UtcTime::from_unix(1_709_210_096);
/// assert_eq!(time.to_string(), "2024-02-29 12:34:56");
/// assert_eq!(format!("{time:#}"), "2024-02-29 12:34");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UtcTime {
    /// Year.
    pub year: u64,
    /// Month, from 1.
    pub month: u64,
    /// Day of the month, from 1.
    pub day: u64,
    /// Seconds since midnight.
    pub seconds: u64,
}

impl UtcTime {
    /// The time this many seconds after the start of 1970.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Self {
        let is_leap = |year: u64| {
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
        };
        // The calendar repeats every 400 years; within those, counting is simple and quick enough.
        const DAYS_OF_400_YEARS: u64 = 146_097;
        let days = seconds / 86_400;
        let mut year = 1970 + days / DAYS_OF_400_YEARS * 400;
        let mut day = days % DAYS_OF_400_YEARS;
        loop {
            let length = 365 + u64::from(is_leap(year));
            if day < length {
                break;
            }
            day -= length;
            year += 1;
        }
        let lengths = [
            31,
            28 + u64::from(is_leap(year)),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ];
        let mut month = 1;
        for length in lengths {
            if day < length {
                break;
            }
            day -= length;
            month += 1;
        }
        UtcTime {
            year,
            month,
            day: day + 1,
            seconds: seconds % 86_400,
        }
    }
}

impl fmt::Display for UtcTime {
    /// `2024-02-29 12:34:56`; with `#` without the seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UtcTime {
            year,
            month,
            day,
            seconds,
        } = self;
        let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")?;
        if !f.alternate() {
            write!(f, ":{:02}", seconds % 60)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_around_the_ends_of_months_and_years() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (978_307_199, "2000-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (u32::MAX.into(), "2106-02-07 06:28:15"),
        ] {
            assert_eq!(UtcTime::from_unix(seconds).to_string(), text);
        }
    }
}
