//! Extended attributes as archives hold them: `SCHILY.xattr.NAME=value` (star, GNU tar, bsdtar, Go) and bsdtar's
//! `LIBARCHIVE.xattr.NAME=base64`.
//!
//! Most names and values lie in the archive as they are. Those that must be decoded go into an arena of the index, whose
//! places count on from the archive's end.

use alloc::vec::Vec;

use crate::error::Reason;
use crate::span::{NameSpan, Span, ValueSpan};

/// The most bytes in a name and in a value (`XATTR_NAME_MAX`, `XATTR_SIZE_MAX` of `<linux/limits.h>`).
const NAME_MAX: usize = 255;
const VALUE_MAX: usize = 65_536;
/// The most attributes of one inode. More than ext4 has room for in a block; it bounds the work that an archive can ask
/// for, since a list is searched name by name.
const COUNT_MAX: usize = 128;

/// One extended attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Xattr {
    pub(crate) name: NameSpan,
    pub(crate) value: ValueSpan,
}

/// The bytes of a place: in the archive, or beyond its end in the arena of decoded text.
pub(crate) fn text<'a>(place: Span, archive: &'a [u8], decoded: &'a [u8]) -> &'a [u8] {
    match place.start.checked_sub(archive.len()) {
        Some(start) if !place.is_empty() => Span::new(start, place.len).of(decoded),
        _ => place.of(archive),
    }
}

/// Adds `new` to `list`, in the place of one of its name.
pub(crate) fn put(list: &mut Vec<Xattr>, new: Xattr, archive: &[u8], decoded: &[u8]) -> Result<(), Reason> {
    let name = text(new.name.span(), archive, decoded);
    if let Some(old) = list.iter().position(|old| text(old.name.span(), archive, decoded) == name) {
        list[old] = new;
        return Ok(());
    }
    if list.len() == COUNT_MAX {
        return Err(Reason::Xattr("over 128 of them"));
    }
    list.try_reserve(1).map_err(|_| Reason::NoMemory)?;
    list.push(new);
    Ok(())
}

/// Reads a `SCHILY.xattr` record. GNU tar writes `=` and `%` in the name as `%3D` and `%25`.
pub(crate) fn from_schily(archive: &[u8], name: Span, value: Span, decoded: &mut Vec<u8>) -> Result<Xattr, Reason> {
    let mut raw = name.of(archive);
    if !raw.contains(&b'%') {
        return checked(archive, decoded, name, value);
    }
    let name = arena(archive, decoded, raw.len(), |decoded| {
        while let Some((&byte, tail)) = raw.split_first() {
            let (byte, tail) = match raw {
                [b'%', b'3', b'D', tail @ ..] => (b'=', tail),
                [b'%', b'2', b'5', tail @ ..] => (b'%', tail),
                _ => (byte, tail),
            };
            decoded.push(byte);
            raw = tail;
        }
        Some(())
    })?;
    checked(archive, decoded, name, value)
}

/// Reads a `LIBARCHIVE.xattr` record: the name is URL-encoded, the value is base64, padded or not.
pub(crate) fn from_libarchive(archive: &[u8], name: Span, value: Span, decoded: &mut Vec<u8>) -> Result<Xattr, Reason> {
    let mut raw = name.of(archive);
    let name = match raw.contains(&b'%') {
        false => name,
        true => arena(archive, decoded, raw.len(), |decoded| {
            while let Some((&byte, tail)) = raw.split_first() {
                let (byte, tail) = match raw {
                    [b'%', high, low, tail @ ..] => (hex(*high)? << 4 | hex(*low)?, tail),
                    [b'%', ..] => return None,
                    _ => (byte, tail),
                };
                decoded.push(byte);
                raw = tail;
            }
            Some(())
        })?,
    };
    let text = value.of(archive);
    let value = arena(archive, decoded, text.len(), |decoded| decode_base64(text, decoded))?;
    checked(archive, decoded, name, value)
}

/// Lets `fill` write at most `most` bytes to the end of the arena, and says where they are.
fn arena(
    archive: &[u8],
    decoded: &mut Vec<u8>,
    most: usize,
    fill: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Result<Span, Reason> {
    decoded.try_reserve(most).map_err(|_| Reason::NoMemory)?;
    let start = decoded.len();
    fill(decoded).ok_or(Reason::Xattr("its encoding is wrong"))?;
    Ok(Span::new(archive.len() + start, decoded.len() - start))
}

fn checked(archive: &[u8], decoded: &[u8], name: Span, value: Span) -> Result<Xattr, Reason> {
    if name.is_empty() || name.len > NAME_MAX || text(name, archive, decoded).contains(&0) {
        return Err(Reason::Xattr("a name that is empty, over 255 bytes or holds a NUL byte"));
    }
    if value.len > VALUE_MAX {
        return Err(Reason::Xattr("a value over 65,536 bytes"));
    }
    match (NameSpan::new(name), ValueSpan::new(value)) {
        (Some(name), Some(value)) => Ok(Xattr { name, value }),
        _ => Err(Reason::TooMany("bytes")),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let len = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    for group in text[..len].chunks(4) {
        let bits = group.iter().try_fold(0u32, |bits, &byte| Some(bits << 6 | sextet(byte)?))?;
        match group.len() {
            4 => out.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => out.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 => out.push((bits >> 4) as u8),
            _ => return None,
        }
    }
    Some(())
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_decodes_with_and_without_padding() {
        for (encoded, plain) in [
            (&b""[..], &b""[..]),
            (b"Zg==", b"f"),
            (b"Zg", b"f"),
            (b"Zm8=", b"fo"),
            (b"Zm8", b"fo"),
            (b"Zm9v", b"foo"),
            (b"Zm9vYmFy", b"foobar"),
            (b"//79+w", b"\xff\xfe\xfd\xfb"),
        ] {
            let mut out = Vec::new();
            decode_base64(encoded, &mut out).unwrap();
            assert_eq!(out, plain);
        }
        for bad in [&b"Z"[..], b"Zm9vY", b"Z=9v", b"Zm v", b"Zm9-"] {
            assert_eq!(decode_base64(bad, &mut Vec::new()), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn names_and_values_are_decoded_as_their_writers_encode_them() {
        let archive = b"user.a%3Db%25c%41 user.a%3db ZGF0YQ==";
        let mut decoded = Vec::new();
        let schily = from_schily(archive, Span::new(0, 17), Span::new(18, 4), &mut decoded).unwrap();
        assert_eq!(text(schily.name.span(), archive, &decoded), b"user.a=b%c%41");
        assert_eq!(text(schily.value.span(), archive, &decoded), b"user");
        let other = from_libarchive(archive, Span::new(18, 10), Span::new(29, 8), &mut decoded).unwrap();
        assert_eq!(text(other.name.span(), archive, &decoded), b"user.a=b");
        assert_eq!(text(other.value.span(), archive, &decoded), b"data");
    }

    #[test]
    fn a_later_value_of_a_name_replaces_the_earlier() {
        let archive = b"user.a 1 user.a 2";
        let mut list = Vec::new();
        for start in [0, 9] {
            let new = from_schily(archive, Span::new(start, 6), Span::new(start + 7, 1), &mut Vec::new()).unwrap();
            put(&mut list, new, archive, b"").unwrap();
        }
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].value.span().of(archive), b"2");
    }
}
