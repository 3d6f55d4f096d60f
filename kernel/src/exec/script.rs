//! `#!` lines.

use vfs::{Errno, Error, Result};

/// What a `#!` line names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script<'a> {
    /// The program that reads the script.
    pub(super) interpreter: &'a [u8],
    /// Its one argument, blanks inside included.
    pub(super) argument: Option<&'a [u8]>,
}

/// Reads the line at the beginning of a file; `None` if it has none.
///
/// # Errors
/// `ENOEXEC` for a line without a program, or one that does not end within `head`.
pub(super) fn parse(head: &[u8]) -> Result<Option<Script<'_>>> {
    let Some(rest) = head.strip_prefix(b"#!") else { return Ok(None) };
    let line = match rest.iter().position(|&byte| byte == b'\n' || byte == 0) {
        Some(end) => &rest[..end],
        // A short file may end without a new line; a long line is cut, which is harmless only after the program's name.
        None => rest,
    };
    let line = trim(line);
    let end = line.iter().position(|byte| is_blank(*byte)).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    let cut = end == line.len() && head.len() == super::HEAD_BYTES && !rest.contains(&b'\n');
    if interpreter.is_empty() || cut {
        return Err(Error::new(Errno::ENOEXEC, "`#!` without a program"));
    }
    let argument = trim(argument);
    Ok(Some(Script { interpreter, argument: (!argument.is_empty()).then_some(argument) }))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|&byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}
