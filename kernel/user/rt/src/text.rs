//! Byte strings as text: names of files are bytes, and whatever they hold may not disturb the terminal.
//!
//! Key types: [`Shown`], bytes to be printed on one line; [`parse_number`], the reverse for numbers.

use core::fmt;

/// Bytes that print as the UTF-8 text they are, with a backslash doubled, and control characters and bytes that are not UTF-8
/// written `\xNN`. Two different byte strings never print alike.
#[derive(Clone, Copy)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let mut plain = 0;
            let text = chunk.valid();
            for (at, character) in text.char_indices() {
                if character != '\\' && !character.is_control() {
                    continue;
                }
                f.write_str(&text[plain..at])?;
                plain = at + character.len_utf8();
                if character == '\\' {
                    f.write_str("\\\\")?;
                } else {
                    escape(f, &text.as_bytes()[at..plain])?;
                }
            }
            f.write_str(&text[plain..])?;
            escape(f, chunk.invalid())?;
        }
        Ok(())
    }
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// Bytes that print as two hexadecimal digits each.
#[derive(Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads the whole of `text` as a number in `radix`, without a sign; `None` when it is not one or does not fit.
pub fn parse_number(text: &[u8], radix: u32) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        let digit = char::from(byte).to_digit(radix)?;
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}

/// Reads a size in bytes, with one of the endings `k`, `M`, `G` (of 1024) or none.
pub fn parse_size(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text.split_last()? {
        (b'k' | b'K', rest) => (rest, 10),
        (b'm' | b'M', rest) => (rest, 20),
        (b'g' | b'G', rest) => (rest, 30),
        _ => (text, 0),
    };
    parse_number(digits, 10)?.checked_mul(1 << shift)
}

/// The last component of a path, without slashes at its end; `/` for the root.
pub fn base_name(path: &[u8]) -> &[u8] {
    let trimmed = trim_slashes(path);
    if trimmed.is_empty() {
        return if path.is_empty() { b"" } else { b"/" };
    }
    let start = trimmed.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    &trimmed[start..]
}

/// `path` without the slashes at its end.
pub fn trim_slashes(path: &[u8]) -> &[u8] {
    let length = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    &path[..length]
}

/// `directory` and `name` with one slash between.
pub fn join(directory: &[u8], name: &[u8]) -> alloc::vec::Vec<u8> {
    let mut path = alloc::vec::Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    if !directory.ends_with(b"/") && !directory.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn control_characters_and_broken_utf8_print_as_hexadecimal() {
        assert_eq!(format!("{}", Shown("a\tb\u{1b}[31m ö \\".as_bytes())), "a\\x09b\\x1b[31m ö \\\\");
        assert_eq!(format!("{}", Shown(b"x\xff\xfey")), "x\\xff\\xfey");
    }

    #[test]
    fn sizes_take_an_ending_and_refuse_what_does_not_fit() {
        assert_eq!(parse_size(b"3k"), Some(3072));
        assert_eq!(parse_size(b"1G"), Some(1 << 30));
        assert_eq!(parse_size(b"17"), Some(17));
        assert_eq!(parse_size(b"k"), None);
        assert_eq!(parse_size(b"99999999999G"), None);
        assert_eq!(parse_number(b"0778", 8), None);
    }

    #[test]
    fn base_names_ignore_slashes_at_the_end() {
        assert_eq!(base_name(b"/etc/motd"), b"motd");
        assert_eq!(base_name(b"a//"), b"a");
        assert_eq!(base_name(b"//"), b"/");
        assert_eq!(join(b"/", b"etc"), b"/etc");
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"", b"b"), b"b");
    }
}
