//! Dates: seconds since 1970 as a day and a time in the proleptic Gregorian calendar, UTC.
//!
//! Key type: [`Date`]. The appliance knows no time zones.

use core::fmt;

pub use crate::sys::{Clock, now};

const DAY: i64 = 86_400;

/// The names of the days, Sunday first.
pub const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// The names of the months.
pub const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment in UTC, to the second. Prints as `2026-03-01 12:00:00`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Date {
    /// The year, negative before year 0.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
    /// The day of the week, 0 for Sunday.
    pub weekday: u8,
}

impl Date {
    /// The date `seconds` after the start of 1970.
    pub fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY);
        let time = seconds.rem_euclid(DAY);
        // Years are counted from March, so that the leap day is a year's last; an era is 400 such years, from 1 March 0000.
        let shifted = days.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        // All of these are small and not negative: remainders and months.
        let small = |value: i64| u8::try_from(value).unwrap_or(0);
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * march_month + 2) / 5 + 1),
            hour: small(time / 3_600),
            minute: small(time / 60 % 60),
            second: small(time % 60),
            weekday: small((days.rem_euclid(7) + 4) % 7),
        }
    }

    /// The seconds since the start of 1970, or `None` when a field is out of its range.
    pub fn to_seconds(self) -> Option<i64> {
        let fields_fit = (1..=12).contains(&self.month)
            && (1..=days_of(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60;
        if !fields_fit || !(-1_000_000..=1_000_000).contains(&self.year) {
            return None;
        }
        let month = i64::from(self.month);
        let year = self.year - i64::from(month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let march_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * march_month + 2) / 5 + i64::from(self.day) - 1;
        let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
        Some(days * DAY + i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second))
    }
}

fn days_of(year: i64, month: u8) -> u8 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn known_moments_have_their_dates() {
        for (seconds, date, weekday) in [
            (0, "1970-01-01 00:00:00", 4),
            (951_782_400, "2000-02-29 00:00:00", 2),
            (1_700_000_000, "2023-11-14 22:13:20", 2),
            (-1, "1969-12-31 23:59:59", 3),
            (4_107_542_400, "2100-03-01 00:00:00", 1),
        ] {
            let found = Date::from_seconds(seconds);
            assert_eq!((found.to_string().as_str(), found.weekday), (date, weekday));
        }
    }

    #[test]
    fn dates_and_seconds_agree_both_ways() {
        for seconds in (-200_000_000_000..200_000_000_000).step_by(987_654_321) {
            assert_eq!(Date::from_seconds(seconds).to_seconds(), Some(seconds));
        }
    }

    #[test]
    fn a_day_that_does_not_exist_has_no_seconds() {
        let date = Date::from_seconds(951_782_400);
        assert_eq!(Date { year: 2001, ..date }.to_seconds(), None);
        assert_eq!(Date { month: 13, ..date }.to_seconds(), None);
    }
}
