//! Names of users and groups, from `/etc/passwd` and `/etc/group`.
//!
//! Key type: [`Names`], one of the two files, read for each command that shows names: it may change.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use strata_rt::text::parse_number;

/// The largest such file that is read, in bytes.
const LIMIT: usize = 256 * 1024;

/// The names and numbers of one file.
#[derive(Default)]
pub(crate) struct Names(Vec<(u32, String)>);

impl Names {
    /// The users. A missing file names nobody.
    pub(crate) fn users() -> Self {
        Self::read(c"/etc/passwd")
    }

    /// The groups. A missing file names none.
    pub(crate) fn groups() -> Self {
        Self::read(c"/etc/group")
    }

    fn read(path: &core::ffi::CStr) -> Self {
        let contents = strata_rt::file::read_whole(path, LIMIT).unwrap_or_default();
        Self(contents.split(|&byte| byte == b'\n').filter_map(entry).collect())
    }

    /// What prints as the name of `number`, or as the number when it has none.
    pub(crate) fn of(&self, number: u32) -> Owner<'_> {
        match self.0.iter().find(|(known, _)| *known == number) {
            Some((_, name)) => Owner::Named(name),
            None => Owner::Number(number),
        }
    }

    /// The number that `text` names or writes.
    pub(crate) fn number(&self, text: &[u8]) -> Option<u32> {
        let named = self.0.iter().find(|(_, name)| name.as_bytes() == text).map(|(number, _)| *number);
        named.or_else(|| parse_number(text, 10).and_then(|number| number.try_into().ok()))
    }
}

/// `name:x:number:…`
fn entry(line: &[u8]) -> Option<(u32, String)> {
    let mut fields = line.split(|&byte| byte == b':');
    let name = core::str::from_utf8(fields.next()?).ok()?;
    let number = parse_number(fields.nth(1)?, 10)?;
    (!name.is_empty()).then(|| Some((u32::try_from(number).ok()?, name.into())))?
}

/// A user or a group to be printed.
pub(crate) enum Owner<'a> {
    Named(&'a str),
    Number(u32),
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.pad(name),
            Self::Number(number) => fmt::Display::fmt(number, f),
        }
    }
}
