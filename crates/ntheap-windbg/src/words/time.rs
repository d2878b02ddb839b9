//! Times as the debugger writes them.

use ntheap::time::UtcTime;

const DAY: u64 = 86_400;
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Day and time of seconds since 1970: the day with `Thu Nov 26`, the time, the year.
fn parts(seconds: u64) -> (String, String, u64) {
    let time = UtcTime::from_unix(seconds);
    // 1970 began on a Thursday.
    let day = DAYS[(seconds / DAY % 7) as usize];
    let month = time.month.saturating_sub(1) as usize;
    let month = MONTHS.get(month).copied().unwrap_or("???");
    let (hours, minutes, rest) = (
        time.seconds / 3600,
        time.seconds / 60 % 60,
        time.seconds % 60,
    );
    (
        format!("{day} {month} {:>2}", time.day),
        format!("{hours:02}:{minutes:02}:{rest:02}"),
        time.year,
    )
}

/// `Thu Nov 26 21:20:39 2026`.
pub(super) fn date(seconds: u64) -> String {
    let (day, time, year) = parts(seconds);
    format!("{day} {time} {year}")
}

/// `Thu Nov 26 21:20:39.000 2026 (UTC + 0:00)`.
pub(super) fn date_of_session(seconds: u64) -> String {
    let (day, time, year) = parts(seconds);
    format!("{day} {time}.000 {year} (UTC + 0:00)")
}

/// `0 days 1:02:03.000`.
pub(super) fn duration(seconds: u64) -> String {
    exact(seconds.saturating_mul(1000))
}

/// `0 days 1:02:03.004`, of milliseconds.
pub(super) fn exact(milliseconds: u64) -> String {
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (days, rest) = (seconds / DAY, seconds % DAY);
    format!(
        "{days} days {}:{:02}:{:02}.{milliseconds:03}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_debugger() {
        assert_eq!(date(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(date(1_795_728_039), "Thu Nov 26 21:20:39 2026");
        assert_eq!(duration(90_061), "1 days 1:01:01.000");
        assert_eq!(exact(61_015), "0 days 0:01:01.015");
    }
}
