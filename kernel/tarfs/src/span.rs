//! Where text lies in the archive: the index keeps places, not copies.
//!
//! [`Span`] is the plain form, used while reading; [`Packed`] is eight bytes in a record. A place at or beyond the
//! archive's end counts on in the arena of decoded text (`Index::text`).

use core::ops::Range;

/// Archives, and the decoded text that follows them in the address space of places, end below this.
pub(crate) const PLACE_LIMIT: usize = 1 << 47;

/// A run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, len: usize) -> Self {
        Self { start, len }
    }

    /// Its bytes in `bytes`; none where it is not inside.
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..).and_then(|tail| tail.get(..self.len)).unwrap_or_default()
    }

    /// The part of it that `range` names, relative to its start.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        let start = range.start.min(self.len);
        Self { start: self.start + start, len: range.end.min(self.len).saturating_sub(start) }
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// A span in eight bytes: `BITS` of length, the rest for the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed<const BITS: u32>(u64);

/// The name of a directory entry or of an extended attribute: up to 255 bytes.
pub(crate) type NameSpan = Packed<8>;
/// The value of an extended attribute: up to 65,536 bytes.
pub(crate) type ValueSpan = Packed<17>;

const _: () = assert!(PLACE_LIMIT.trailing_zeros() + 17 <= 64, "a value's place fits in its record");

impl<const BITS: u32> Packed<BITS> {
    /// `None` where the span does not fit.
    pub(crate) fn new(span: Span) -> Option<Self> {
        let (start, len) = (u64::try_from(span.start).ok()?, u64::try_from(span.len).ok()?);
        (start >> (64 - BITS) == 0 && len >> BITS == 0).then_some(Self((start << BITS) | len))
    }

    pub(crate) fn span(self) -> Span {
        // Both halves came from a `usize`.
        Span { start: (self.0 >> BITS) as usize, len: (self.0 & ((1 << BITS) - 1)) as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_what_fits_and_refuses_the_rest() {
        let span = Span::new(PLACE_LIMIT - 1, 255);
        assert_eq!(NameSpan::new(span).unwrap().span(), span);
        assert_eq!(NameSpan::new(Span::new(0, 256)), None);
        let span = Span::new(PLACE_LIMIT - 1, 65_536);
        assert_eq!(ValueSpan::new(span).unwrap().span(), span);
        assert_eq!(ValueSpan::new(Span::new(PLACE_LIMIT, 1)), None);
    }

    #[test]
    fn a_span_outside_has_no_bytes() {
        assert_eq!(Span::new(2, 2).of(b"abcd"), b"cd");
        assert_eq!(Span::new(3, 2).of(b"abcd"), b"");
        assert_eq!(Span::new(9, 0).of(b"abcd"), b"");
        assert_eq!(Span::new(4, 6).part(2..4), Span::new(6, 2));
        assert_eq!(Span::new(4, 6).part(7..9).len, 0);
    }
}
