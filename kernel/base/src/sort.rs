//! Sorting in little code.
//!
//! `core`'s sorts are the fastest there are, and two to five kilobytes of code for every type that is sorted: here they were a
//! twentieth of the kernel. These sort through two calls, "is this before that" and "swap these", so that the algorithm is there
//! once: a quicksort with the middle of three as pivot, which leaves short parts to insertion and, where the input makes it slow,
//! goes over to a heapsort: `n log n` whatever is sorted. About twice the time of `core`'s; equal items come in any order.

/// Sorts by a key.
pub fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    by(items, |a, b| key(a) < key(b));
}

/// Sorts so that no item comes after one that it is `before`.
pub fn by<T>(items: &mut [T], before: impl Fn(&T, &T) -> bool) {
    let end = items.len();
    sort(&mut Slice { items, before }, 0, end, 2 * end.checked_ilog2().unwrap_or(0));
}

/// Items by their places.
trait Table {
    fn is_before(&self, a: usize, b: usize) -> bool;
    fn swap(&mut self, a: usize, b: usize);
}

struct Slice<'a, T, F> {
    items: &'a mut [T],
    before: F,
}

impl<T, F: Fn(&T, &T) -> bool> Table for Slice<'_, T, F> {
    fn is_before(&self, a: usize, b: usize) -> bool {
        (self.before)(&self.items[a], &self.items[b])
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.items.swap(a, b);
    }
}

/// Parts up to this long are sorted by insertion.
const SHORT: usize = 12;

/// Sorts the places from `start` to `end`; after `patience` more divisions by heap.
fn sort(table: &mut dyn Table, mut start: usize, mut end: usize, mut patience: u32) {
    while end - start > SHORT {
        if (start + 1..end).all(|at| !table.is_before(at, at - 1)) {
            return;
        }
        if patience == 0 {
            return heapsort(table, start, end);
        }
        patience -= 1;
        let middle = divide(table, start, end);
        // The shorter part in a call, so that calls nest no deeper than the logarithm of the length.
        if middle - start < end - middle {
            sort(table, start, middle, patience);
            start = middle + 1;
        } else {
            sort(table, middle + 1, end, patience);
            end = middle;
        }
    }
    for item in start + 1..end {
        let mut at = item;
        while at > start && table.is_before(at, at - 1) {
            table.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// Puts a pivot where it belongs, nothing greater in front of it and nothing less behind; returns its place.
fn divide(table: &mut dyn Table, start: usize, end: usize) -> usize {
    let (middle, last) = (start + (end - start) / 2, end - 1);
    // The middle one of three comes to the front.
    if table.is_before(middle, start) {
        table.swap(middle, start);
    }
    if table.is_before(last, middle) {
        table.swap(last, middle);
        if table.is_before(middle, start) {
            table.swap(middle, start);
        }
    }
    table.swap(start, middle);
    let (mut left, mut right) = (start, end);
    loop {
        // Both stop at what equals the pivot: many equal items are divided evenly.
        loop {
            left += 1;
            if left >= right || !table.is_before(left, start) {
                break;
            }
        }
        loop {
            right -= 1;
            if right < left || !table.is_before(start, right) {
                break;
            }
        }
        if left >= right {
            table.swap(start, right);
            return right;
        }
        table.swap(left, right);
    }
}

fn heapsort(table: &mut dyn Table, start: usize, end: usize) {
    let length = end - start;
    for root in (0..length / 2).rev() {
        sift(table, start, root, length);
    }
    for length in (1..length).rev() {
        table.swap(start, start + length);
        sift(table, start, 0, length);
    }
}

/// Lets the item at `root` sink in the heap of `length` items from `start`.
fn sift(table: &mut dyn Table, start: usize, mut root: usize, length: usize) {
    loop {
        let mut child = 2 * root + 1;
        if child >= length {
            return;
        }
        if child + 1 < length && table.is_before(start + child, start + child + 1) {
            child += 1;
        }
        if !table.is_before(start + root, start + child) {
            return;
        }
        table.swap(start + root, start + child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::cell::Cell;
    use std::vec::Vec;

    use super::*;

    /// A few shapes of input of `length` items.
    fn shapes(length: usize) -> Vec<Vec<u32>> {
        let mut seed = 0x9e37_79b9_u32;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 17;
            seed ^= seed << 5;
            seed
        };
        let ramp = 0..length as u32;
        let mut shapes = Vec::from([
            ramp.clone().collect(),
            ramp.clone().rev().collect(),
            ramp.clone().map(|_| 7).collect(),
            ramp.clone().map(|at| at % 3).collect(),
            ramp.clone().map(|at| at.min(length as u32 - at)).collect(),
            ramp.clone().map(|at| at ^ 1).collect(),
        ]);
        shapes.push(ramp.clone().map(|_| random()).collect());
        shapes.push(ramp.map(|_| random() % 10).collect());
        shapes
    }

    #[test]
    fn everything_is_sorted_as_core_sorts_it() {
        for length in (0..70).chain([1000, 4097]) {
            for mut items in shapes(length) {
                let mut expected = items.clone();
                expected.sort_unstable();
                by_key(&mut items, |&item| item);
                assert_eq!(items, expected);
            }
        }
    }

    #[test]
    fn a_heap_sorts_what_division_does_not() {
        for length in [13, 100, 1000] {
            for mut items in shapes(length) {
                let mut expected = items.clone();
                expected.sort_unstable();
                sort(&mut Slice { items: &mut items, before: |a: &u32, b: &u32| a < b }, 0, length, 0);
                assert_eq!(items, expected);
            }
        }
    }

    #[test]
    fn no_input_takes_more_than_n_log_n() {
        let length = 1 << 14;
        for mut items in shapes(length) {
            let asked = Cell::new(0_usize);
            by(&mut items, |a, b| {
                asked.set(asked.get() + 1);
                a < b
            });
            assert!(asked.get() < length * 14 * 6, "{}", asked.get());
        }
    }

    #[test]
    fn an_inconsistent_order_sorts_nothing_and_harms_nothing() {
        for length in [0, 1, 13, 500] {
            let mut items: Vec<u32> = (0..length).collect();
            let turn = Cell::new(0_u32);
            by(&mut items, |_, _| {
                turn.set(turn.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
                turn.get() >> 31 == 0
            });
            items.sort_unstable();
            assert!(items.iter().copied().eq(0..length));
        }
    }
}
