//! Dates: where they come from and how they are written.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A date: milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Makes a date from milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns how long ago `earlier` was, or zero when it lies in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns this date moved into the future; stops at the last representable one.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with milliseconds, such as `2026-11-21T04:00:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
        let (second, milli) = (rest / 1000 % 60, rest % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// A text is not a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a date looks like 2026-11-21T18:00:00Z or 2026-11-21T18:00+01:00, from 1970 to 9999")]
pub struct DateError;

impl FromStr for Timestamp {
    type Err = DateError;

    /// Reads RFC 3339; seconds and milliseconds may be left out, the offset may not.
    fn from_str(text: &str) -> Result<Self, DateError> {
        parse_date(text).map(Self).ok_or(DateError)
    }
}

fn parse_date(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once('T')?;
    let at = rest.find(['Z', '+', '-'])?;
    let (time, zone) = rest.split_at(at);
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let (time, milli) = match time.split_once('.') {
        Some((time, milli)) if time.len() == 8 => (time, numbers(milli, '.', [3])?[0]),
        Some(_) => return None,
        None => (time, 0),
    };
    let [hour, minute, second] = match time.len() {
        5 => {
            let [hour, minute] = numbers(time, ':', [2, 2])?;
            [hour, minute, 0]
        }
        _ => numbers(time, ':', [2, 2, 2])?,
    };
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = match zone.split_at(1) {
        ("Z", "") => seconds,
        (sign, offset) => {
            let [hours, minutes] = numbers(offset, ':', [2, 2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            if sign == "+" { seconds.checked_sub(offset)? } else { seconds + offset }
        }
    };
    Some(seconds * 1000 + milli)
}

/// Reads numbers of these many digits with a separator between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(between);
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Turns a day of the proleptic Gregorian calendar into days since 1970-01-01; `None` when there is
/// no such day.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted = year - u64::from(month <= 2);
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let month_shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// Turns days since 1970-01-01 into year, month and day of the proleptic Gregorian calendar.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Where dates come from: the machine's clock, one that a test sets, or one that somebody else keeps.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Machine,
    Manual(Arc<AtomicU64>),
    Kept(Arc<dyn Fn() -> Timestamp + Send + Sync>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "Machine",
            Self::Manual(_) => "Manual",
            Self::Kept(_) => "Kept",
        })
    }
}

impl Clock {
    /// Returns the machine's own clock.
    pub const fn machine() -> Self {
        Self(Source::Machine)
    }

    /// Returns a clock that stands still until [`Clock::set`] or [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start.0))))
    }

    /// Returns a clock that somebody else keeps, such as the machines of a simulation, whose clocks
    /// follow virtual time and are wrong by different amounts. `read` is called often.
    pub fn kept(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Source::Kept(Arc::new(read)))
    }

    /// Returns the date now.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Machine => {
                let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
                Timestamp(since.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)))
            }
            Source::Manual(now) => Timestamp(now.load(Ordering::SeqCst)),
            Source::Kept(read) => read(),
        }
    }

    /// Sets a manual clock; every other clock stays as it is.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(now) = &self.0 {
            now.store(to.0, Ordering::SeqCst);
        }
    }

    /// Moves a manual clock into the future; every other clock stays as it is.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(millis: u64, expected: &str) {
        assert_eq!(Timestamp::from_millis(millis).to_string(), expected);
    }

    #[test]
    fn dates_are_rfc_3339() {
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_700_000_000_123, "2023-11-14T22:13:20.123Z");
        check(4_107_542_399_999, "2100-02-28T23:59:59.999Z");
    }

    #[track_caller]
    fn check_read(text: &str, expected: Option<u64>) {
        assert_eq!(text.parse().ok().map(Timestamp::as_millis), expected, "{text}");
    }

    #[test]
    fn dates_are_read_back() {
        for millis in
            [0, 951_782_400_000, 1_700_000_000_123, 4_107_542_399_999, 253_402_300_799_999]
        {
            check_read(&Timestamp::from_millis(millis).to_string(), Some(millis));
        }
        check_read("2023-11-14T22:13:20Z", Some(1_700_000_000_000));
        check_read("2023-11-14T22:13Z", Some(1_699_999_980_000));
        check_read("2023-11-14T23:13:20+01:00", Some(1_700_000_000_000));
        check_read("2023-11-14T20:43:20-01:30", Some(1_700_000_000_000));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "",
            "18:00",
            "2026-11-21",
            "2026-11-21T18:00",
            "2026-11-21T18Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-21T24:00:00Z",
            "2026-11-21T18:60:00Z",
            "2026-11-21T18:00:60Z",
            "2026-11-21T18:00:00ZZ",
            "2026-11-21T18:00:00+1:00",
            "2026-11-21T18:00:00+01:00:00",
            "2026-11-21T18:00:00.1Z",
            "2026-11-21T18:00.100Z",
            "+026-11-21T18:00:00Z",
            "2026-11-21T18:00:00é",
        ] {
            check_read(bad, None);
        }
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp::from_millis(5));
        let other = clock.clone();
        clock.advance(Duration::from_millis(10));
        assert_eq!(other.now(), Timestamp::from_millis(15));
    }

    #[test]
    fn a_kept_clock_says_what_its_keeper_says() {
        let keeper = Clock::manual(Timestamp::from_millis(5));
        let clock = {
            let keeper = keeper.clone();
            Clock::kept(move || keeper.now().plus(Duration::from_millis(100)))
        };
        keeper.set(Timestamp::from_millis(7));
        clock.set(Timestamp::from_millis(1));
        assert_eq!(clock.now(), Timestamp::from_millis(107));
    }
}
