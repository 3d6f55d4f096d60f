//! pax extended headers (POSIX.1-2001, `pax` utility, "pax Extended Header"): records `LENGTH KEYWORD=VALUE\n`.
//!
//! [`Keywords`] holds what the records of one header say; a member asks its own and then the global ones
//! ([`Keyword::or`]). Unknown keywords are passed over, as POSIX says. Owners are numeric here: `uname` and `gname` have
//! no meaning without the user database of the archive itself.

use alloc::vec::Vec;

use base::time::{NANOS_PER_SEC, Timestamp};

use crate::error::{Reason, TarError, no_memory};
use crate::span::Span;
use crate::xattr::{self, Xattr};

/// What headers say of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Keyword<T> {
    /// Nothing.
    #[default]
    Absent,
    /// That it has no value: neither that of a global header nor that of the member's block counts less than this.
    Deleted,
    /// A value.
    Value(T),
}

impl<T: Copy> Keyword<T> {
    /// The value where this header, or else `global`, has one.
    pub(crate) fn or(self, global: Self) -> Option<T> {
        match (self, global) {
            (Self::Value(value), _) | (Self::Absent, Self::Value(value)) => Some(value),
            (Self::Deleted, _) | (Self::Absent, _) => None,
        }
    }
}

/// `GNU.sparse.*`, in all three versions of the format.
#[derive(Debug, Default)]
pub(crate) struct SparseKeywords {
    /// `GNU.sparse.major` and `minor`: version 1 has them, and its map in the data.
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    /// `GNU.sparse.name`: the real name, where the header has an invented one.
    pub(crate) name: Keyword<Span>,
    /// `GNU.sparse.size` or `realsize`: the size with holes.
    pub(crate) size: Option<u64>,
    /// `GNU.sparse.numblocks`: how many extents the map has.
    pub(crate) count: Option<u64>,
    /// The map of version 0: offset and length in turn.
    pub(crate) map: Vec<u64>,
}

/// What the records of an extended header say.
#[derive(Debug, Default)]
pub(crate) struct Keywords {
    /// Whether any record was read.
    used: bool,
    pub(crate) path: Keyword<Span>,
    pub(crate) link: Keyword<Span>,
    pub(crate) size: Keyword<u64>,
    pub(crate) uid: Keyword<u32>,
    pub(crate) gid: Keyword<u32>,
    pub(crate) atime: Keyword<Timestamp>,
    pub(crate) mtime: Keyword<Timestamp>,
    pub(crate) ctime: Keyword<Timestamp>,
    pub(crate) dev_major: Keyword<u32>,
    pub(crate) dev_minor: Keyword<u32>,
    pub(crate) sparse: SparseKeywords,
    pub(crate) xattrs: Vec<Xattr>,
}

impl Keywords {
    /// Forgets everything but the memory. Most members have no keywords, so that nothing is to be done.
    pub(crate) fn clear(&mut self) {
        if !core::mem::take(&mut self.used) {
            return;
        }
        let (mut map, mut xattrs) = (core::mem::take(&mut self.sparse.map), core::mem::take(&mut self.xattrs));
        map.clear();
        xattrs.clear();
        *self = Self { sparse: SparseKeywords { map, ..Default::default() }, xattrs, ..Default::default() };
    }

    /// Adds the records in `data`. What must be decoded goes to the end of `decoded`.
    pub(crate) fn read(&mut self, bytes: &[u8], data: Span, decoded: &mut Vec<u8>) -> Result<(), TarError> {
        let mut rest = data;
        self.used = true;
        while !rest.is_empty() {
            let record = Record::first_of(bytes, rest)?;
            self.apply(bytes, &record, decoded)?;
            rest = rest.part(record.len..rest.len);
        }
        Ok(())
    }

    fn apply(&mut self, bytes: &[u8], record: &Record<'_>, decoded: &mut Vec<u8>) -> Result<(), TarError> {
        match record.keyword {
            b"path" => self.path = record.name(bytes)?,
            b"linkpath" => self.link = record.name(bytes)?,
            b"size" => self.size = record.parse_in(bytes, "size")?,
            b"uid" => self.uid = record.parse_in(bytes, "uid")?,
            b"gid" => self.gid = record.parse_in(bytes, "gid")?,
            b"atime" => self.atime = record.parse_with(bytes, "atime", timestamp)?,
            b"mtime" => self.mtime = record.parse_with(bytes, "mtime", timestamp)?,
            b"ctime" => self.ctime = record.parse_with(bytes, "ctime", timestamp)?,
            b"SCHILY.devmajor" => self.dev_major = record.parse_in(bytes, "SCHILY.devmajor")?,
            b"SCHILY.devminor" => self.dev_minor = record.parse_in(bytes, "SCHILY.devminor")?,
            keyword => {
                if let Some(name) = keyword.strip_prefix(b"GNU.sparse.") {
                    self.apply_sparse(bytes, name, record)?;
                } else if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    let found = xattr::from_schily(bytes, record.keyword_tail(name), record.value, decoded);
                    self.put_xattr(bytes, decoded, record, found)?;
                } else if let Some(name) = keyword.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let found = xattr::from_libarchive(bytes, record.keyword_tail(name), record.value, decoded);
                    self.put_xattr(bytes, decoded, record, found)?;
                }
            }
        }
        Ok(())
    }

    fn put_xattr(
        &mut self,
        bytes: &[u8],
        decoded: &[u8],
        record: &Record<'_>,
        found: Result<Xattr, Reason>,
    ) -> Result<(), TarError> {
        found
            .and_then(|found| xattr::put(&mut self.xattrs, found, bytes, decoded))
            .map_err(|reason| TarError::new(record.offset, reason))
    }

    fn apply_sparse(&mut self, bytes: &[u8], name: &[u8], record: &Record<'_>) -> Result<(), TarError> {
        let (sparse, value) = (&mut self.sparse, record.value.of(bytes));
        let wrong = |keyword| TarError::new(record.offset, Reason::Keyword(keyword));
        let parse = |keyword| decimal(value).ok_or_else(|| wrong(keyword));
        match name {
            b"major" => sparse.major = Some(parse("GNU.sparse.major")?),
            b"minor" => sparse.minor = Some(parse("GNU.sparse.minor")?),
            b"name" => sparse.name = record.name(bytes)?,
            b"size" => sparse.size = Some(parse("GNU.sparse.size")?),
            b"realsize" => sparse.size = Some(parse("GNU.sparse.realsize")?),
            b"numblocks" => sparse.count = Some(parse("GNU.sparse.numblocks")?),
            b"offset" | b"numbytes" => {
                // Version 0.0: the two come in turn, once for every extent.
                if (name == b"offset") != sparse.map.len().is_multiple_of(2) {
                    return Err(TarError::new(record.offset, Reason::Sparse("offset and numbytes do not alternate")));
                }
                sparse.map.try_reserve(1).map_err(no_memory(record.offset))?;
                sparse.map.push(parse("GNU.sparse.offset")?);
            }
            b"map" => {
                // Version 0.1: all in one value.
                sparse.map.clear();
                for number in value.split(|&byte| byte == b',').filter(|_| !value.is_empty()) {
                    sparse.map.try_reserve(1).map_err(no_memory(record.offset))?;
                    sparse.map.push(decimal(number).ok_or_else(|| wrong("GNU.sparse.map"))?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// One record.
struct Record<'a> {
    offset: usize,
    /// The whole record.
    len: usize,
    keyword: &'a [u8],
    value: Span,
}

impl<'a> Record<'a> {
    fn first_of(bytes: &'a [u8], data: Span) -> Result<Self, TarError> {
        let wrong = |how| TarError::new(data.start, Reason::Record(how));
        let text = data.of(bytes);
        // Twenty digits are more than any length has.
        let digits = text.iter().take(20).position(|&byte| byte == b' ').ok_or_else(|| wrong("no length"))?;
        let len = decimal(&text[..digits]).and_then(|len| usize::try_from(len).ok());
        let len = len.ok_or_else(|| wrong("no length"))?;
        if len > text.len() {
            return Err(wrong("it is longer than its header"));
        }
        let Some((b'\n', body)) = text.get(digits + 1..len).and_then(<[u8]>::split_last) else {
            return Err(wrong("no newline at its end"));
        };
        let equals = body.iter().position(|&byte| byte == b'=').ok_or_else(|| wrong("no `=`"))?;
        let value = Span::new(data.start + digits + 1 + equals + 1, body.len() - equals - 1);
        Ok(Self { offset: data.start, len, keyword: &body[..equals], value })
    }

    /// Where the end of the keyword, which `tail` is, lies.
    fn keyword_tail(&self, tail: &[u8]) -> Span {
        Span::new(self.value.start - 1 - tail.len(), tail.len())
    }

    fn name(&self, bytes: &[u8]) -> Result<Keyword<Span>, TarError> {
        if self.value.is_empty() {
            return Ok(Keyword::Deleted);
        }
        if self.value.of(bytes).contains(&0) {
            return Err(TarError::new(self.offset, Reason::NulInName));
        }
        Ok(Keyword::Value(self.value))
    }

    fn parse_with<T>(
        &self,
        bytes: &[u8],
        keyword: &'static str,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Keyword<T>, TarError> {
        if self.value.is_empty() {
            return Ok(Keyword::Deleted);
        }
        let value = parse(self.value.of(bytes));
        value.map(Keyword::Value).ok_or_else(|| TarError::new(self.offset, Reason::Keyword(keyword)))
    }

    fn parse_in<T: TryFrom<u64>>(&self, bytes: &[u8], keyword: &'static str) -> Result<Keyword<T>, TarError> {
        self.parse_with(bytes, keyword, |value| T::try_from(decimal(value)?).ok())
    }
}

/// A number in decimal, nothing before or after it.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A time: seconds since the epoch, in decimal, with a sign and a fraction where it has one. Digits beyond nanoseconds
/// are cut off towards the past.
pub(crate) fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let secs = i64::try_from(decimal(&text[..point])?).ok()?;
    let fraction = text.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |place: usize| u32::from(fraction.get(place).map_or(0, |byte| byte - b'0'));
    let nanos = (0..9).fold(0, |nanos, place| nanos * 10 + digit(place));
    if !negative {
        return Some(Timestamp { secs, nanos });
    }
    // -1.25 is two seconds before the epoch and three quarters of one after that.
    let nanos = nanos + u32::from(fraction.iter().skip(9).any(|&byte| byte != b'0'));
    Some(match nanos {
        0 => Timestamp { secs: -secs, nanos: 0 },
        _ => Timestamp { secs: (-secs).checked_sub(1)?, nanos: NANOS_PER_SEC - nanos },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Keywords, TarError> {
        let mut keywords = Keywords::default();
        keywords.read(text, Span::new(0, text.len()), &mut Vec::new())?;
        Ok(keywords)
    }

    #[test]
    fn records_give_values_and_an_empty_value_deletes() {
        let text = b"12 path=a/b\n20 ctime=1350244992\n7 gid=\n22 comment=anything\n11 uid=99\n\n";
        let keywords = read(&text[..text.len() - 1]);
        assert!(keywords.is_err(), "11 is one too many for uid=99");
        let text = b"12 path=a/b\n20 ctime=1350244992\n7 gid=\n20 comment=anything\n10 uid=99\n";
        let keywords = read(text).unwrap();
        assert_eq!(keywords.path, Keyword::Value(Span::new(8, 3)));
        assert_eq!(keywords.ctime, Keyword::Value(Timestamp::from_secs(1_350_244_992)));
        assert_eq!(keywords.uid, Keyword::Value(99));
        assert_eq!(keywords.gid, Keyword::Deleted);
        assert_eq!(keywords.size, Keyword::Absent);
        assert_eq!(keywords.gid.or(Keyword::Value(1)), None);
        assert_eq!(keywords.size.or(Keyword::Value(1)), Some(1));
    }

    #[test]
    fn malformed_records_are_named() {
        for (text, how) in [
            (&b"path=a\n"[..], "no length"),
            (b"x path=a\n", "no length"),
            (b"99 path=a\n", "it is longer than its header"),
            (b"8 path=a\n", "no newline at its end"),
            (b"3 \n", "no `=`"),
            (b"0 a=b\n", "no newline at its end"),
            (b"99999999999999999999999 a=b\n", "no length"),
        ] {
            assert_eq!(read(text).unwrap_err().reason, Reason::Record(how), "{}", text.escape_ascii());
        }
        assert_eq!(read(b"8 size=x\n").unwrap_err().reason, Reason::Record("no newline at its end"));
        assert_eq!(read(b"9 size=x\n").unwrap_err().reason, Reason::Keyword("size"));
        assert_eq!(read(b"12 path=a\0b\n").unwrap_err().reason, Reason::NulInName);
    }

    #[test]
    fn times_may_be_negative_and_fractional() {
        let at = |secs, nanos| Some(Timestamp { secs, nanos });
        for (text, expected) in [
            (&b"0"[..], at(0, 0)),
            (b"1350244992.023960108", at(1_350_244_992, 23_960_108)),
            (b"1.5", at(1, 500_000_000)),
            (b"1.0000000019", at(1, 1)),
            (b"-1", at(-1, 0)),
            (b"-1.25", at(-2, 750_000_000)),
            (b"-0.000000001", at(-1, 999_999_999)),
            (b"-0.0000000001", at(-1, 999_999_999)),
            (b"-1.9999999999", at(-2, 0)),
            (b"3.", at(3, 0)),
            (b"", None),
            (b"-", None),
            (b".5", None),
            (b"1.x", None),
            (b"99999999999999999999", None),
        ] {
            assert_eq!(timestamp(text), expected, "{}", text.escape_ascii());
        }
    }
}
