//! Sparse files: which bytes of the file the archive stores, and where.
//!
//! Four encodings lead to one checked list of [`Extent`]s: old GNU (type `S`, binary map in and after the header), and
//! pax 0.0 (a record an extent), 0.1 (one record) and 1.0 (text before the data). Source: "Storing Sparse Files" in the
//! manual of GNU tar.

use alloc::vec::Vec;

use crate::error::{Reason, TarError, no_memory};
use crate::header::{BLOCK, Header, number, sparse_block};
use crate::pax::decimal;
use crate::span::Span;

/// A run of a file's bytes that the archive stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where in the file.
    pub(crate) start: u64,
    /// How many bytes: at least one.
    pub(crate) len: u64,
    /// Where in the archive.
    pub(crate) place: u64,
}

impl Extent {
    pub(crate) const fn end(&self) -> u64 {
        self.start + self.len
    }
}

/// Collects a map and checks it: ascending, without overlap, inside the file and inside the stored bytes.
pub(crate) struct MapBuilder<'a> {
    extents: &'a mut Vec<Extent>,
    offset: usize,
    file_size: u64,
    /// End of the last extent in the file, and the stored bytes that are not spoken for.
    end: u64,
    stored: Span,
}

impl<'a> MapBuilder<'a> {
    /// A map of a file of `file_size` bytes whose member begins at `offset`. `extents` is emptied.
    pub(crate) fn new(extents: &'a mut Vec<Extent>, offset: usize, file_size: u64) -> Self {
        extents.clear();
        Self { extents, offset, file_size, end: 0, stored: Span::default() }
    }

    /// Says where the stored bytes are; before any [`push`](Self::push).
    pub(crate) fn stored(&mut self, stored: Span) {
        self.stored = stored;
    }

    /// Adds `len` bytes at `start`. Zero bytes are no extent, but mark the end where a hole ends the file.
    pub(crate) fn push(&mut self, start: u64, len: u64) -> Result<(), TarError> {
        let wrong = |how| TarError::new(self.offset, Reason::Sparse(how));
        let end = start.checked_add(len).filter(|&end| end <= self.file_size);
        let end = end.ok_or_else(|| wrong("an extent ends beyond the file"))?;
        if start < self.end {
            return Err(wrong("extents overlap or are out of order"));
        }
        if len == 0 {
            return Ok(());
        }
        let taken = usize::try_from(len).ok().filter(|&len| len <= self.stored.len);
        let taken = taken.ok_or_else(|| wrong("it speaks of more bytes than are stored"))?;
        match self.extents.last_mut() {
            // Adjacent in the file is adjacent in the archive.
            Some(last) if last.end() == start => last.len += len,
            _ => {
                self.extents.try_reserve(1).map_err(no_memory(self.offset))?;
                self.extents.push(Extent { start, len, place: self.stored.start as u64 });
            }
        }
        self.end = end;
        self.stored = self.stored.part(taken..self.stored.len);
        Ok(())
    }
}

/// The blocks of an old GNU map after the header at `offset`: where they begin, and where the data does.
pub(crate) fn old_gnu_blocks(bytes: &[u8], header: &Header<'_>, offset: usize) -> Result<Span, TarError> {
    let start = offset + BLOCK;
    let mut end = start;
    let mut more = header.sparse_map().1;
    while more {
        let Some(block) = bytes.get(end..).and_then(<[u8]>::first_chunk::<BLOCK>) else {
            let missing = (end + BLOCK).saturating_sub(bytes.len()) as u64;
            return Err(TarError::new(end, Reason::Truncated { what: "a sparse map", member: None, missing }));
        };
        more = sparse_block(block).1;
        end += BLOCK;
    }
    Ok(Span::new(start, end - start))
}

/// Reads an old GNU map: from the header, then from `blocks`.
pub(crate) fn read_old_gnu(
    map: &mut MapBuilder<'_>,
    bytes: &[u8],
    header: &Header<'_>,
    blocks: Span,
) -> Result<(), TarError> {
    let (continued, _) = blocks.of(bytes).as_chunks::<BLOCK>();
    let parts = core::iter::once(header.sparse_map().0).chain(continued.iter().map(|block| sparse_block(block).0));
    for (start, len) in parts.flat_map(|part| part.as_chunks::<24>().0).map(|extent| extent.split_at(12)) {
        if len[0] == 0 {
            break;
        }
        let number = |field| number(field).and_then(|number| u64::try_from(number).ok());
        let (Some(start), Some(len)) = (number(start), number(len)) else {
            return Err(TarError::new(map.offset, Reason::Sparse("an extent is no number")));
        };
        map.push(start, len)?;
    }
    Ok(())
}

/// Reads the map of pax versions 0.0 and 0.1: offset and length in turn, `count` pairs where it is said how many.
pub(crate) fn read_pairs(map: &mut MapBuilder<'_>, numbers: &[u64], count: Option<u64>) -> Result<(), TarError> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() || count.is_some_and(|count| count != pairs.len() as u64) {
        return Err(TarError::new(map.offset, Reason::Sparse("it has not as many extents as it says")));
    }
    pairs.iter().try_for_each(|&[start, len]| map.push(start, len))
}

/// Reads the map of pax version 1.0 from the head of `data`: decimal numbers, a line each, the count first, padded to
/// whole blocks. What follows in `data` is the stored bytes.
pub(crate) fn read_text(map: &mut MapBuilder<'_>, bytes: &[u8], data: Span) -> Result<(), TarError> {
    let wrong = |offset: usize, how| TarError::new(data.start + offset, Reason::Sparse(how));
    let text = data.of(bytes);
    let next = |at: &mut usize| {
        // Twenty digits are more than any number has.
        let line = text.get(*at..).unwrap_or_default();
        let len = line.iter().take(21).position(|&byte| byte == b'\n');
        let value = len.and_then(|len| decimal(&line[..len])).ok_or_else(|| wrong(*at, "no number"))?;
        *at += len.unwrap_or_default() + 1;
        Ok(value)
    };
    let mut at = 0;
    let count = next(&mut at)?;
    // The stored bytes begin where the numbers end: they are read once to find that, once more for the extents.
    let first = at;
    for _ in 0..count {
        next(&mut at)?;
        next(&mut at)?;
    }
    map.stored(data.part(at.next_multiple_of(BLOCK)..data.len));
    at = first;
    for _ in 0..count {
        let start = next(&mut at)?;
        map.push(start, next(&mut at)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(file_size: u64, stored: usize, pairs: &[u64]) -> Result<Vec<Extent>, TarError> {
        let mut extents = Vec::new();
        let mut map = MapBuilder::new(&mut extents, 0, file_size);
        map.stored(Span::new(1000, stored));
        read_pairs(&mut map, pairs, None)?;
        Ok(extents)
    }

    #[test]
    fn adjacent_extents_become_one_and_empty_ones_vanish() {
        let extents = build(100, 30, &[0, 10, 10, 5, 20, 0, 50, 15, 100, 0]).unwrap();
        let expected = [Extent { start: 0, len: 15, place: 1000 }, Extent { start: 50, len: 15, place: 1015 }];
        assert_eq!(extents, expected);
    }

    #[test]
    fn maps_that_lie_are_refused() {
        for (pairs, how) in [
            (&[0, 10, 5, 10][..], "extents overlap or are out of order"),
            (&[50, 10, 0, 10], "extents overlap or are out of order"),
            (&[95, 6], "an extent ends beyond the file"),
            (&[101, 0], "an extent ends beyond the file"),
            (&[u64::MAX, 2], "an extent ends beyond the file"),
            (&[0, 31], "it speaks of more bytes than are stored"),
            (&[0, 20, 30, 11], "it speaks of more bytes than are stored"),
            (&[0, 20, 30], "it has not as many extents as it says"),
        ] {
            assert_eq!(build(100, 30, pairs).unwrap_err().reason, Reason::Sparse(how), "{pairs:?}");
        }
    }

    #[test]
    fn a_text_map_ends_at_a_block_and_its_count_is_not_trusted() {
        let read = |head: &[u8]| {
            let mut bytes = head.to_vec();
            bytes.resize(BLOCK + 20, 0);
            let mut extents = Vec::new();
            let mut map = MapBuilder::new(&mut extents, 0, 1000);
            read_text(&mut map, &bytes, Span::new(0, bytes.len()))?;
            Ok::<_, TarError>(extents)
        };
        let extents = read(b"2\n0\n5\n100\n15\n").unwrap();
        assert_eq!(extents[1], Extent { start: 100, len: 15, place: 517 });
        for head in
            [&b"3\n0\n5\n100\n15\n"[..], b"99999999999999999999\n1\n", b"18446744073709551615\n0\n0\n", b"x\n", b""]
        {
            assert_eq!(read(head).unwrap_err().reason, Reason::Sparse("no number"), "{}", head.escape_ascii());
        }
    }
}
