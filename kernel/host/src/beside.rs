//! Measurements of the same work here and on Linux, in turn, and the table of their medians.
//!
//! A machine's speed moves by more than what is to be seen, for seconds at a time. So both sides do each row one right after
//! the other, the one that begins changes from round to round, and what is compared are medians of rounds. Beside it stands the ratio
//! of the best rounds, which other work on the machine touches least.

use std::fmt;
use std::time::Duration;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The project's crates.
    Ours,
    /// The kernel of this machine.
    Linux,
}

impl Side {
    /// Both, in the order of a round.
    #[must_use]
    pub const fn in_turn(round: usize) -> [Self; 2] {
        if round.is_multiple_of(2) { [Self::Linux, Self::Ours] } else { [Self::Ours, Self::Linux] }
    }
}

/// A row: what it is, and seconds for one operation, round by round.
struct Row {
    name: String,
    ours: Vec<f64>,
    linux: Vec<f64>,
}

/// Rows in the order in which they first came. Shown as a table of Markdown, in microseconds for one operation.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Notes that `operations` of a row took so long.
    pub fn note(&mut self, row: &str, side: Side, took: Duration, operations: u32) {
        let index = self.rows.iter().position(|known| known.name == row).unwrap_or_else(|| {
            self.rows.push(Row { name: row.into(), ours: Vec::new(), linux: Vec::new() });
            self.rows.len() - 1
        });
        let seconds = took.as_secs_f64() / f64::from(operations.max(1));
        match side {
            Side::Ours => self.rows[index].ours.push(seconds),
            Side::Linux => self.rows[index].linux.push(seconds),
        }
    }

    /// Rows whose medians say that Linux is faster.
    #[must_use]
    pub fn slower(&self) -> Vec<&str> {
        self.rows.iter().filter(|row| row.ratio().is_some_and(|ratio| ratio > 1.0)).map(|row| &*row.name).collect()
    }
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        Some(median(&self.ours)? / median(&self.linux)?)
    }

    fn best(&self) -> Option<f64> {
        let least = |values: &[f64]| values.iter().copied().min_by(f64::total_cmp);
        Some(least(&self.ours)? / least(&self.linux)?)
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        even if even.is_multiple_of(2) => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// Microseconds with three figures, and thousands apart.
fn micros(values: &[f64]) -> String {
    let Some(seconds) = median(values) else { return "–".into() };
    let micros = seconds * 1e6;
    let digits = if micros < 10.0 { 2 } else { usize::from(micros < 100.0) };
    let text = format!("{micros:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((&*text, String::new()), |(a, b)| (a, format!(".{b}")));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &fraction
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| row | Strata | Linux | Strata / Linux | best / best |\n|---|---|---|---|---|")?;
        for row in &self.rows {
            let [ratio, best] =
                [row.ratio(), row.best()].map(|ratio| ratio.map_or_else(|| "–".into(), |ratio| format!("{ratio:.2}")));
            let (ours, linux) = (micros(&row.ours), micros(&row.linux));
            writeln!(f, "| {} | {ours} | {linux} | {ratio} | {best} |", row.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_its_medians_in_microseconds_and_their_ratio() {
        let mut table = Table::default();
        for (ours, linux) in [(10, 40), (30, 20), (900, 4000)] {
            table.note("row", Side::Ours, Duration::from_millis(ours), 10);
            table.note("row", Side::Linux, Duration::from_millis(linux), 10);
        }
        table.note("alone", Side::Ours, Duration::from_secs(12), 1);
        let shown = table.to_string();
        let rows: Vec<&str> = shown.lines().skip(2).collect();
        assert_eq!(rows, ["| row | 3,000 | 4,000 | 0.75 | 0.50 |", "| alone | 12,000,000 | – | – | – |"]);
        assert!(table.slower().is_empty());
    }

    #[test]
    fn sides_take_turns_to_begin() {
        assert_eq!(Side::in_turn(0), [Side::Linux, Side::Ours]);
        assert_eq!(Side::in_turn(1), [Side::Ours, Side::Linux]);
    }
}
