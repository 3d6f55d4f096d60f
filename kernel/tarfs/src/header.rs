//! One header block: its checksum, its dialect, and its fields as checked values.
//!
//! Layouts are those of POSIX.1-1988 `ustar` and of GNU tar ("Basic Tar Format" in its manual). A header is seen only
//! through [`Header`], which exists only for a block whose checksum is right.

use core::ops::Range;

use crate::error::{Reason, TarError};
use crate::fingerprint::Fingerprint;
use crate::span::Span;

/// The unit of an archive, in bytes.
pub(crate) const BLOCK: usize = 512;

/// A field of the header.
pub(crate) struct Field {
    at: usize,
    len: usize,
    name: &'static str,
}

const fn field(at: usize, len: usize, name: &'static str) -> Field {
    assert!(at + len <= BLOCK);
    Field { at, len, name }
}

const NAME: Field = field(0, 100, "name");
const MODE: Field = field(100, 8, "mode");
const UID: Field = field(108, 8, "uid");
const GID: Field = field(116, 8, "gid");
const SIZE: Field = field(124, 12, "size");
const MTIME: Field = field(136, 12, "mtime");
const CHECKSUM: Field = field(148, 8, "chksum");
const TYPE: usize = 156;
const LINK: Field = field(157, 100, "linkname");
const MAGIC: Field = field(257, 8, "magic");
const DEV_MAJOR: Field = field(329, 8, "devmajor");
const DEV_MINOR: Field = field(337, 8, "devminor");
const PREFIX: Field = field(345, 155, "prefix");
const GNU_SPARSE: usize = 386;
const GNU_SPARSE_COUNT: usize = 4;
const GNU_EXTENDED: usize = 482;
const GNU_REAL_SIZE: Field = field(483, 12, "realsize");

/// Extents in a block that continues an old GNU sparse map, and where the block says that one more follows.
pub(crate) const SPARSE_BLOCK_COUNT: usize = 21;
const SPARSE_BLOCK_EXTENDED: usize = 504;

/// Who defined the bytes after the link name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Nobody: the header of the seventh edition of Unix.
    V7,
    /// POSIX: a prefix of the name, device numbers.
    Ustar,
    /// GNU: device numbers, sparse maps, no prefix.
    Gnu,
}

/// A header whose checksum is right.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK],
    offset: usize,
    dialect: Dialect,
}

impl<'a> Header<'a> {
    /// Checks the block at `offset` of `bytes` and takes it into the fingerprint.
    pub(crate) fn check(
        block: &'a [u8; BLOCK],
        offset: usize,
        fingerprint: &mut Fingerprint,
    ) -> Result<Self, TarError> {
        let sum = fingerprint.absorb_block(block);
        let found = number(&block[CHECKSUM.range()]).and_then(|sum| u64::try_from(sum).ok());
        let Some(found) = found.filter(|_| block[CHECKSUM.range()].iter().any(u8::is_ascii_digit)) else {
            return Err(TarError::new(offset, Reason::NotAHeader));
        };
        // The checksum is taken with its own field as spaces.
        let field = block[CHECKSUM.range()].iter().map(|&byte| u32::from(byte)).sum::<u32>();
        let computed = u64::from(sum - field) + 8 * u64::from(b' ');
        if found != computed && !is_signed_sum(block, computed, found) {
            return Err(TarError::new(offset, Reason::Checksum { found, computed }));
        }
        let dialect = match &block[MAGIC.range()] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar") => Dialect::Ustar,
            _ => Dialect::V7,
        };
        Ok(Self { block, offset, dialect })
    }

    /// Whether a block is a header, for a look ahead.
    pub(crate) fn is_valid(block: &[u8; BLOCK]) -> bool {
        Header::check(block, 0, &mut Fingerprint::new()).is_ok()
    }

    /// The type flag.
    pub(crate) const fn type_flag(&self) -> u8 {
        self.block[TYPE]
    }

    /// Prefix and name: the parts of the path, to be joined by a slash.
    pub(crate) fn path(&self) -> [Span; 2] {
        let prefix = match self.dialect {
            Dialect::Ustar => self.text(&PREFIX),
            Dialect::Gnu | Dialect::V7 => Span::default(),
        };
        [prefix, self.text(&NAME)]
    }

    /// The target of a link.
    pub(crate) fn link(&self) -> Span {
        self.text(&LINK)
    }

    /// Permission bits.
    pub(crate) fn mode(&self) -> Result<u16, TarError> {
        Ok((self.number(&MODE)? & 0o7777) as u16)
    }

    pub(crate) fn uid(&self) -> Result<u32, TarError> {
        self.unsigned(&UID)
    }

    pub(crate) fn gid(&self) -> Result<u32, TarError> {
        self.unsigned(&GID)
    }

    /// Bytes of data that follow, where the type has any.
    pub(crate) fn size(&self) -> Result<u64, TarError> {
        self.unsigned(&SIZE)
    }

    /// Seconds since the epoch.
    pub(crate) fn mtime(&self) -> Result<i64, TarError> {
        self.number(&MTIME)
    }

    /// Major and minor number of a device; 0/0 in a dialect without.
    pub(crate) fn device(&self) -> Result<(u32, u32), TarError> {
        match self.dialect {
            Dialect::V7 => Ok((0, 0)),
            Dialect::Ustar | Dialect::Gnu => Ok((self.unsigned(&DEV_MAJOR)?, self.unsigned(&DEV_MINOR)?)),
        }
    }

    /// Size of an old GNU sparse file with its holes.
    pub(crate) fn sparse_size(&self) -> Result<u64, TarError> {
        self.unsigned(&GNU_REAL_SIZE)
    }

    /// The extents in the header of an old GNU sparse file, and whether a block with more follows.
    pub(crate) fn sparse_map(&self) -> (&'a [u8], bool) {
        (&self.block[GNU_SPARSE..GNU_SPARSE + GNU_SPARSE_COUNT * 24], self.block[GNU_EXTENDED] != 0)
    }

    fn text(&self, field: &Field) -> Span {
        let bytes = &self.block[field.range()];
        let len = bytes.iter().position(|&byte| byte == 0).unwrap_or(field.len);
        Span::new(self.offset + field.at, len)
    }

    fn number(&self, field: &Field) -> Result<i64, TarError> {
        number(&self.block[field.range()]).ok_or_else(|| TarError::new(self.offset, Reason::Field(field.name)))
    }

    fn unsigned<T: TryFrom<i64>>(&self, field: &Field) -> Result<T, TarError> {
        T::try_from(self.number(field)?).map_err(|_| TarError::new(self.offset, Reason::Field(field.name)))
    }
}

impl Field {
    const fn range(&self) -> Range<usize> {
        self.at..self.at + self.len
    }
}

/// Splits a block that continues an old GNU sparse map: its extents, and whether one more block follows.
pub(crate) fn sparse_block(block: &[u8; BLOCK]) -> (&[u8], bool) {
    (&block[..SPARSE_BLOCK_COUNT * 24], block[SPARSE_BLOCK_EXTENDED] != 0)
}

/// Whether `found` is the sum of the header's bytes taken as signed, as some old implementations have it.
#[cold]
fn is_signed_sum(block: &[u8; BLOCK], computed: u64, found: u64) -> bool {
    let high = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte >= 0x80).count() as u64;
    // The checksum field counts as spaces in both sums.
    let signed = computed.checked_sub(256 * (high(block) - high(&block[CHECKSUM.range()])));
    signed == Some(found)
}

/// The value of a numeric field: octal digits with blanks before and a blank or NUL after, or, with the top bit of the
/// first byte set, GNU's big-endian two's complement. A blank field is zero. `None` for anything else, and for what does
/// not fit. No field is longer than twelve bytes.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let sign = i64::from(first << 1) << 56 >> 57;
        return rest.iter().try_fold(sign, |value, &byte| value.checked_mul(256)?.checked_add(i64::from(byte)));
    }
    if let Some(value) = usual_number(field) {
        return Some(value);
    }
    let blanks = field.iter().take_while(|&&byte| byte == b' ').count();
    let mut value = 0i64;
    for &byte in &field[blanks..] {
        match byte {
            // The longest field has 36 bits.
            b'0'..=b'7' => value = value << 3 | i64::from(byte - b'0'),
            0 | b' ' => return Some(value),
            _ => return None,
        }
    }
    Some(value)
}

/// The value of a field as nearly all are: digits alone, then one NUL or space. A word at a time, since a mount reads five
/// numbers a member.
fn usual_number(field: &[u8]) -> Option<i64> {
    let (head, tail) = field.split_last_chunk::<8>()?;
    let tail = u64::from_be_bytes(*tail);
    if !matches!(tail as u8, 0 | b' ') {
        return None;
    }
    let low = digits(tail >> 8 | u64::from(b'0') << 56)?;
    match head {
        [] => Some(low),
        &[a, b, c, d] => {
            let head = u64::from(u32::from_be_bytes([a, b, c, d]));
            Some(digits(head | u64::from_be_bytes([b'0', b'0', b'0', b'0', 0, 0, 0, 0]))? << 21 | low)
        }
        _ => None,
    }
}

/// The value of eight octal digits, the first in the top byte.
fn digits(text: u64) -> Option<i64> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let digits = text ^ (EACH * b'0' as u64);
    if digits & (EACH * 0xf8) != 0 {
        return None;
    }
    // Neighbours of 3 bits become one of 6, those one of 12, and those one of 24.
    let pairs = (digits >> 5 | digits) & 0x003f_003f_003f_003f;
    let fours = (pairs >> 10 | pairs) & 0x0000_0fff_0000_0fff;
    Some(((fours >> 20 | fours) & 0xff_ffff) as i64)
}

/// The name of another format that `head` is in.
pub(crate) fn foreign_format(head: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 8] = [
        (&[0x1f, 0x8b], "compressed by gzip"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "compressed by xz"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "compressed by zstd"),
        (b"BZh", "compressed by bzip2"),
        (&[0x04, 0x22, 0x4d, 0x18], "compressed by lz4"),
        (b"070701", "in cpio's format"),
        (b"070702", "in cpio's format"),
        (b"hsqs", "a squashfs image"),
    ];
    // A member of a tar may well be called "BZh": what a valid header says goes before.
    if head.first_chunk::<BLOCK>().is_some_and(Header::is_valid) {
        return None;
    }
    FORMATS.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, format)| format)
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|word| *word == [0; 8]) && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_take_blanks_before_and_a_terminator_after() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"77777777", 0o7777_7777),
            (b"1234567\0", 0o1234567),
            (b"12345671234 ", 0o12345671234),
            (b"777777777777", 0o777777777777),
            (b"00000000000\0", 0),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"644\0junk", 0o644),
        ] {
            assert_eq!(number(field), Some(value), "{}", field.escape_ascii());
        }
        for field in [&b"000064x\0"[..], b"0000648\0", b"0000064/", b"8       ", b"-1      ", b"6 4"] {
            let expected = (field == b"6 4").then_some(6);
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn base_256_fields_are_twos_complement() {
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 8]), Some(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]), Some(-256));
        let mut field = [0u8; 12];
        field[0] = 0x80;
        field[4..].copy_from_slice(&i64::MAX.to_be_bytes());
        assert_eq!(number(&field), Some(i64::MAX));
        field[4] = 0x80;
        assert_eq!(number(&field), None, "2^63 does not fit");
        field[0] = 0xff;
        field[1..4].fill(0xff);
        assert_eq!(number(&field), Some(i64::from_be_bytes([0x80, 255, 255, 255, 255, 255, 255, 255])));
    }
}
