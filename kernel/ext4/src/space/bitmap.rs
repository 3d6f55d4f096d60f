//! Bits of bitmaps, a word at a time.

/// A run of free bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FreeRun {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// Which bits are taken: those of a bitmap on disk, and those withheld.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    pub(crate) bitmap: &'a [u8],
    pub(crate) withheld: Option<&'a [u64]>,
}

impl Taken<'_> {
    /// The word of bits from `64 * index` on; past the end everything is taken.
    fn word(&self, index: usize) -> u64 {
        let disk = match self.bitmap.get(index * 8..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => u64::MAX,
        };
        disk | self.withheld.and_then(|words| words.get(index)).copied().unwrap_or(0)
    }

    /// The first bit at or after `from` and below `to` that is free.
    pub(crate) fn next_free(&self, from: u32, to: u32) -> Option<u32> {
        self.next(from, to, |word| !word)
    }

    /// The first bit at or after `from` and below `to` that is taken, else `to`.
    fn next_taken(&self, from: u32, to: u32) -> u32 {
        self.next(from, to, |word| word).unwrap_or(to)
    }

    fn next(&self, from: u32, to: u32, wanted: impl Fn(u64) -> u64) -> Option<u32> {
        let mut index = from / 64;
        let mut word = wanted(self.word(index as usize)) & (u64::MAX << (from % 64));
        while index * 64 < to {
            if word != 0 {
                let found = index * 64 + word.trailing_zeros();
                return (found < to).then_some(found);
            }
            index += 1;
            word = wanted(self.word(index as usize));
        }
        None
    }

    /// How many bits from `from` on are free, `most` at most.
    pub(crate) fn free_at(&self, from: u32, to: u32, most: u32) -> u32 {
        self.next_taken(from, to.min(from.saturating_add(most))).saturating_sub(from)
    }

    /// The first run of `want` free bits between `from` and `to`, else the longest.
    pub(crate) fn find(&self, from: u32, to: u32, want: u32) -> FreeRun {
        let mut best = FreeRun::default();
        let mut at = from;
        while let Some(start) = self.next_free(at, to) {
            let len = self.free_at(start, to, want);
            if len > best.len {
                best = FreeRun { start, len };
            }
            if len >= want {
                break;
            }
            at = start + len;
        }
        best
    }
}

/// Sets or clears a range of bits in words.
pub(super) fn fill(words: &mut [u64], start: u32, len: u32, value: bool) {
    let (mut at, end) = (start, start + len);
    while at < end {
        let count = (64 - at % 64).min(end - at);
        let mask = (u64::MAX >> (64 - count)) << (at % 64);
        if let Some(word) = words.get_mut(at as usize / 64) {
            if value {
                *word |= mask;
            } else {
                *word &= !mask;
            }
        }
        at += count;
    }
}

/// Sets a range of bits in bytes.
pub(crate) fn set(bytes: &mut [u8], start: u32, len: u32) {
    each_byte(bytes, start, len, |byte, mask| *byte |= mask);
}

/// Clears a range of bits in bytes.
pub(crate) fn clear(bytes: &mut [u8], start: u32, len: u32) {
    each_byte(bytes, start, len, |byte, mask| *byte &= !mask);
}

/// Whether all bits of a range are set.
pub(crate) fn all_set(bytes: &[u8], start: u32, len: u32) -> bool {
    parts(start, len).all(|(at, mask)| bytes.get(at).is_some_and(|byte| byte & mask == mask))
}

/// Whether no bit of a range is set.
pub(crate) fn none_set(bytes: &[u8], start: u32, len: u32) -> bool {
    parts(start, len).all(|(at, mask)| bytes.get(at).is_some_and(|byte| byte & mask == 0))
}

fn each_byte(bytes: &mut [u8], start: u32, len: u32, change: impl Fn(&mut u8, u8)) {
    for (at, mask) in parts(start, len) {
        if let Some(byte) = bytes.get_mut(at) {
            change(byte, mask);
        }
    }
}

/// The bytes of a range of bits, each with the mask of its part.
fn parts(start: u32, len: u32) -> impl Iterator<Item = (usize, u8)> {
    let end = start + len;
    let mut at = start;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let count = (8 - at % 8).min(end - at);
        let part = (at as usize / 8, (0xff >> (8 - count)) << (at % 8));
        at += count;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_that_fits_is_found_else_the_longest() {
        let mut bitmap = [0_u8; 32];
        set(&mut bitmap, 0, 10);
        set(&mut bitmap, 14, 50);
        set(&mut bitmap, 100, 156);
        let mut withheld = [0_u64; 4];
        fill(&mut withheld, 64, 6, true);
        let taken = Taken { bitmap: &bitmap, withheld: Some(&withheld) };
        assert_eq!(taken.find(0, 256, 4), FreeRun { start: 10, len: 4 });
        assert_eq!(taken.find(0, 256, 8), FreeRun { start: 70, len: 8 });
        assert_eq!(taken.find(0, 256, 100), FreeRun { start: 70, len: 30 });
        assert_eq!(taken.find(12, 256, 1), FreeRun { start: 12, len: 1 });
        assert_eq!(taken.find(100, 256, 1), FreeRun::default());
        assert_eq!(taken.free_at(70, 80, 100), 10);
        fill(&mut withheld, 64, 6, false);
        assert!(none_set(&bitmap, 10, 4) && all_set(&bitmap, 14, 50) && !all_set(&bitmap, 13, 2));
        clear(&mut bitmap, 100, 156);
        assert_eq!(
            Taken { bitmap: &bitmap, withheld: Some(&withheld) }.find(0, 256, 999),
            FreeRun { start: 64, len: 192 }
        );
    }
}
