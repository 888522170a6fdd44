//! When something is due: once, every so often, or as a cron expression says. Pure: what time it is
//! comes in, the next time goes out.

use std::str::FromStr as _;

use croner::Cron;
use jiff::tz::TimeZone;
use sedge_base::{ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};

/// The longest cron expression or zone, in bytes.
const MAX_TEXT: usize = 128;

/// The shortest interval, in milliseconds.
const SHORTEST_MS: u64 = 1000;

/// When something is due (seed 000, `ScheduleType`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// One time.
    Once {
        /// When; a time that is over is due at once.
        at: Timestamp,
    },
    /// At once, and then again so long after each run began.
    Interval {
        /// How long, in milliseconds; a second at least.
        every_ms: u64,
    },
    /// As a cron expression says.
    Cron {
        /// Five fields, or six with seconds in front, or a nickname such as `@daily`.
        cron: String,
        /// The zone whose clocks are meant, such as `Europe/Berlin`, from this machine's zone
        /// database, or a POSIX rule; UTC when left out.
        #[serde(default = "utc")]
        zone: String,
    },
}

/// Why there is no next time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhenError {
    /// The expression cannot be read.
    #[error("the cron expression is wrong: {reason}")]
    Cron {
        /// Why, in words.
        reason: String,
    },
    /// The zone is not known here.
    #[error("the time zone `{zone}` is not known on this machine")]
    Zone {
        /// Which.
        zone: String,
    },
    /// The expression names a day that never comes.
    #[error("the cron expression never comes true")]
    Never,
    /// The interval is shorter than a second.
    #[error("an interval is a second at least")]
    TooOften,
    /// A time is beyond what calendars hold.
    #[error("the time is beyond what calendars hold")]
    Range,
}

impl WhenError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

impl When {
    /// Returns the first time that it is due, when it is `now` (seed 000, `add_job`: an interval
    /// begins at once).
    ///
    /// # Errors
    ///
    /// See [`WhenError`].
    pub fn first(&self, now: Timestamp) -> Result<Timestamp, WhenError> {
        match self {
            Self::Once { at } => Ok(*at),
            Self::Interval { every_ms } if *every_ms < SHORTEST_MS => Err(WhenError::TooOften),
            Self::Interval { .. } => Ok(now),
            Self::Cron { cron, zone } => next_of(cron, zone, now),
        }
    }

    /// Returns the next time after `now`, or `None` when there is none (seed 000, `mark_executed`: an
    /// interval counts from the run).
    ///
    /// # Errors
    ///
    /// See [`WhenError`].
    pub fn next(&self, now: Timestamp) -> Result<Option<Timestamp>, WhenError> {
        match self {
            Self::Once { .. } => Ok(None),
            Self::Interval { every_ms } => {
                let millis = now.as_millis().checked_add(*every_ms).ok_or(WhenError::Range)?;
                Ok(Some(Timestamp::from_millis(millis)))
            }
            Self::Cron { cron, zone } => next_of(cron, zone, now).map(Some),
        }
    }

    /// Returns the `count` next times, beginning with `from`.
    pub fn upcoming(&self, from: Timestamp, count: usize) -> Vec<Timestamp> {
        std::iter::successors(Some(from), |last| self.next(*last).ok().flatten())
            .take(count)
            .collect()
    }
}

/// Returns the first time after `now` that fits the expression.
fn next_of(cron: &str, zone: &str, now: Timestamp) -> Result<Timestamp, WhenError> {
    let wrong = |reason: &dyn ToString| WhenError::Cron { reason: reason.to_string() };
    if cron.len() > MAX_TEXT {
        return Err(wrong(&"it is longer than 128 bytes"));
    }
    let unknown = || WhenError::Zone { zone: zone.chars().take(MAX_TEXT).collect() };
    if zone.len() > MAX_TEXT {
        return Err(unknown());
    }
    // The parser skips an empty place; a list of nothing else would be looked for over three thousand years.
    if cron.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
        return Err(wrong(&"a list has an empty place"));
    }
    let cron = Cron::from_str(cron).map_err(|it| wrong(&it))?;
    let zone = match zone {
        "UTC" => TimeZone::UTC,
        name => TimeZone::get(name).or_else(|_| TimeZone::posix(name)).map_err(|_| unknown())?,
    };
    let millis = i64::try_from(now.as_millis()).map_err(|_| WhenError::Range)?;
    let now = jiff::Timestamp::from_millisecond(millis).map_err(|_| WhenError::Range)?;
    let next = cron.find_next_occurrence(&now.to_zoned(zone), false);
    let next = next.map_err(|_| WhenError::Never)?.timestamp().as_millisecond();
    u64::try_from(next).map(Timestamp::from_millis).map_err(|_| WhenError::Range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cron(cron: &str, zone: &str) -> When {
        When::Cron { cron: cron.to_owned(), zone: zone.to_owned() }
    }

    #[track_caller]
    fn check(when: &When, from: &str, expected: &[&str]) {
        let first = when.first(from.parse().unwrap()).unwrap();
        let times: Vec<_> = when.upcoming(first, 3).into_iter().map(|it| it.to_string()).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn every_five_minutes() {
        check(
            &cron("*/5 * * * *", "UTC"),
            "2026-11-21T12:02:03.456Z",
            &["2026-11-21T12:05:00.000Z", "2026-11-21T12:10:00.000Z", "2026-11-21T12:15:00.000Z"],
        );
        // The moment itself is not after itself.
        check(
            &cron("*/5 * * * *", "UTC"),
            "2026-12-31T23:55:00Z",
            &["2027-01-01T00:00:00.000Z", "2027-01-01T00:05:00.000Z", "2027-01-01T00:10:00.000Z"],
        );
    }

    #[test]
    fn days_months_and_seconds() {
        check(
            &cron("0 9 * * MON-FRI", "UTC"),
            "2026-11-20T10:00:00Z",
            &["2026-11-23T09:00:00.000Z", "2026-11-24T09:00:00.000Z", "2026-11-25T09:00:00.000Z"],
        );
        check(
            &cron("0 0 29 2 *", "UTC"),
            "2026-01-01T00:00:00Z",
            &["2028-02-29T00:00:00.000Z", "2032-02-29T00:00:00.000Z", "2036-02-29T00:00:00.000Z"],
        );
        check(
            &cron("*/20 * * * * *", "UTC"),
            "2026-01-01T00:00:00Z",
            &["2026-01-01T00:00:20.000Z", "2026-01-01T00:00:40.000Z", "2026-01-01T00:01:00.000Z"],
        );
    }

    #[test]
    fn clocks_of_a_zone_change_twice_a_year() {
        // Central Europe by its rule: on 25 October 2026 clocks went back at 03:00.
        check(
            &cron("0 9 * * *", "CET-1CEST,M3.5.0,M10.5.0/3"),
            "2026-10-24T00:00:00Z",
            &["2026-10-24T07:00:00.000Z", "2026-10-25T08:00:00.000Z", "2026-10-26T08:00:00.000Z"],
        );
    }

    #[test]
    fn once_and_intervals() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        check(&When::Once { at }, "2026-06-01T00:00:00Z", &["2026-01-01T00:00:00.000Z"]);
        check(
            &When::Interval { every_ms: 90_000 },
            "2026-01-01T00:00:00Z",
            &["2026-01-01T00:00:00.000Z", "2026-01-01T00:01:30.000Z", "2026-01-01T00:03:00.000Z"],
        );
    }

    #[test]
    fn what_never_comes_or_is_not_known_is_told() {
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(cron("0 0 30 2 *", "UTC").first(now), Err(WhenError::Never));
        assert!(matches!(cron("61 * * * *", "UTC").first(now), Err(WhenError::Cron { .. })));
        assert!(matches!(cron("", "UTC").first(now), Err(WhenError::Cron { .. })));
        for empty in ["0 ,, * * *", "0 ,1 * * *", "0 1, * * *", ", * * * *"] {
            assert!(
                matches!(cron(empty, "UTC").first(now), Err(WhenError::Cron { .. })),
                "{empty}"
            );
        }
        let zone = "Middle/Earth".to_owned();
        assert_eq!(cron("* * * * *", &zone).first(now), Err(WhenError::Zone { zone }));
        assert_eq!(When::Interval { every_ms: 999 }.first(now), Err(WhenError::TooOften));
        let long = cron(&"*".repeat(129), "UTC");
        assert!(matches!(long.first(now), Err(WhenError::Cron { .. })));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_times_go_on(
            text in "([0-9*/,@a-zA-Z#?LW -]{1,5} ?){1,7}",
            zone in "UTC|.{0,12}",
            now in any::<u64>(),
        ) {
            let now = Timestamp::from_millis(now);
            if let Ok(first) = cron(&text, &zone).first(now) {
                prop_assert!(first > now);
            }
        }
    }
}
