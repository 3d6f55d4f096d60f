//! The real-time clock (MC146818), which every PC-like machine has at ports 0x70 and 0x71.

use crate::port;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;

/// How often the clock is read until two readings agree.
const ATTEMPTS: usize = 16;

/// The registers of one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    seconds: u8,
    minutes: u8,
    hours: u8,
    day: u8,
    month: u8,
    year: u8,
    century: Option<u8>,
    status: u8,
}

/// The time in seconds since 1970-01-01 00:00 UTC, which the clock is taken to show. `None` where no clock answers
/// or what it shows is no date. `century` is the register that ACPI names for it.
#[must_use]
pub fn now(century: Option<u8>) -> Option<i64> {
    for _ in 0..ATTEMPTS {
        // In an update the registers may be torn; two equal readings outside of one are good.
        if read(STATUS_A) & 0x80 != 0 {
            continue;
        }
        let first = Reading::take(century);
        if read(STATUS_A) & 0x80 == 0 && first == Reading::take(century) {
            return first.seconds_since_epoch();
        }
    }
    None
}

fn read(register: u8) -> u8 {
    // SAFETY: selecting and reading a register of the clock has no effect; its interrupts are not in use. Bit 7 of the
    // selection, which masks the NMI, stays off.
    unsafe {
        port::write8(0x70, register);
        port::read8(0x71)
    }
}

impl Reading {
    fn take(century: Option<u8>) -> Self {
        Self {
            seconds: read(SECONDS),
            minutes: read(MINUTES),
            hours: read(HOURS),
            day: read(DAY),
            month: read(MONTH),
            year: read(YEAR),
            century: century.map(read),
            status: read(STATUS_B),
        }
    }

    fn seconds_since_epoch(self) -> Option<i64> {
        let binary = self.status & 0x04 != 0;
        let decode = |value: u8| if binary { value } else { (value >> 4) * 10 + (value & 0x0f) };
        let mut hour = decode(self.hours & 0x7f);
        if self.status & 0x02 == 0 {
            // Twelve-hour clock: bit 7 is the afternoon, and 12 comes before 1.
            hour = hour % 12 + if self.hours & 0x80 != 0 { 12 } else { 0 };
        }
        let (minute, second) = (decode(self.minutes), decode(self.seconds));
        let (day, month) = (decode(self.day), decode(self.month));
        let century = self.century.map(decode).filter(|century| (19..=29).contains(century)).unwrap_or(20);
        let year = i64::from(century) * 100 + i64::from(decode(self.year));
        let valid = hour < 24
            && minute < 60
            && second < 60
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && decode(self.year) < 100;
        valid.then(|| {
            let days = days_since_epoch(year, i64::from(month), i64::from(day));
            ((days * 24 + i64::from(hour)) * 60 + i64::from(minute)) * 60 + i64::from(second)
        })
    }
}

/// The number of days from 1970-01-01 to a date of the Gregorian calendar: years begin in March, so that the
/// leap day is the last.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCD: Reading = Reading {
        seconds: 0x59,
        minutes: 0x30,
        hours: 0x23,
        day: 0x29,
        month: 0x02,
        year: 0x24,
        century: Some(0x20),
        status: 0x02,
    };

    #[test]
    fn dates_are_counted_from_the_epoch() {
        assert_eq!(days_since_epoch(1970, 1, 1), 0);
        assert_eq!(days_since_epoch(2000, 3, 1), 11_017);
        assert_eq!(days_since_epoch(2100, 12, 31), 47_846);
    }

    #[test]
    fn a_reading_in_decimal_digits_is_understood() {
        assert_eq!(BCD.seconds_since_epoch(), Some(1_709_249_459));
    }

    #[test]
    fn a_binary_reading_with_a_twelve_hour_clock_is_understood() {
        let reading = Reading {
            seconds: 59,
            minutes: 30,
            hours: 11 | 0x80,
            day: 29,
            month: 2,
            year: 24,
            century: None,
            status: 0x04,
        };
        assert_eq!(reading.seconds_since_epoch(), Some(1_709_249_459));
    }

    #[test]
    fn a_clock_that_is_not_there_gives_nothing() {
        let absent = Reading {
            seconds: 0xff,
            minutes: 0xff,
            hours: 0xff,
            day: 0xff,
            month: 0xff,
            year: 0xff,
            century: Some(0xff),
            status: 0xff,
        };
        assert_eq!(absent.seconds_since_epoch(), None);
    }
}
