//! Patterns of file names: `*`, `?` and `[a-z]`, as the shell and `find -name` use them.
//!
//! Key type: [`Pattern`], a pattern in which quoted characters stand for themselves.

use alloc::vec::Vec;

use strata_rt::{dir, text};

/// A unit of a pattern.
#[derive(Clone, PartialEq, Eq)]
enum Unit {
    /// This byte.
    Byte(u8),
    /// Any one character.
    AnyOne,
    /// Any characters, also none.
    AnyRun,
    /// A character in one of the ranges, or in none of them.
    Set { ranges: Vec<(u8, u8)>, inside: bool },
}

/// A pattern for one or several path components.
#[derive(Clone, Default)]
pub(crate) struct Pattern(Vec<Unit>);

impl Pattern {
    /// Adds text whose special characters have their meaning.
    pub(crate) fn push_plain(&mut self, plain: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = plain.get(at) {
            at += 1;
            self.0.push(match byte {
                b'*' => Unit::AnyRun,
                b'?' => Unit::AnyOne,
                b'[' => match set(&plain[at..]) {
                    Some((unit, length)) => {
                        at += length;
                        unit
                    }
                    None => Unit::Byte(b'['),
                },
                _ => Unit::Byte(byte),
            });
        }
    }

    /// Adds text that stands for itself.
    pub(crate) fn push_literal(&mut self, text: &[u8]) {
        self.0.extend(text.iter().map(|&byte| Unit::Byte(byte)));
    }

    /// Whether anything in it matches more than one text.
    pub(crate) fn is_wild(&self) -> bool {
        self.0.iter().any(|unit| !matches!(unit, Unit::Byte(_)))
    }

    /// Whether it matches the whole of `name`.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        matches(&self.0, name)
    }

    /// The existing paths that match, in the order of their names.
    pub(crate) fn paths(&self) -> Vec<Vec<u8>> {
        let mut found: Vec<Vec<u8>> = [Vec::new()].into();
        for component in self.0.split_inclusive(|unit| *unit == Unit::Byte(b'/')) {
            let (name, slash) = match component.split_last() {
                Some((Unit::Byte(b'/'), name)) => (name, &b"/"[..]),
                _ => (component, &b""[..]),
            };
            found = if name.iter().all(|unit| matches!(unit, Unit::Byte(_))) {
                let literal: Vec<u8> = bytes(name).chain(slash.iter().copied()).collect();
                found.into_iter().map(|path| [&path[..], &literal].concat()).filter(|path| exists(path)).collect()
            } else {
                found.iter().flat_map(|path| children(path, name, slash)).collect()
            };
        }
        found
    }
}

fn bytes(units: &[Unit]) -> impl Iterator<Item = u8> + '_ {
    units.iter().filter_map(|unit| if let Unit::Byte(byte) = unit { Some(*byte) } else { None })
}

fn exists(path: &[u8]) -> bool {
    path.is_empty() || rustix::fs::lstat(path).is_ok()
}

fn children(directory: &[u8], pattern: &[Unit], slash: &[u8]) -> Vec<Vec<u8>> {
    let place = if directory.is_empty() { b"." } else { directory };
    // A directory that cannot be read matches nothing, as in every shell.
    let entries = dir::open(place).and_then(dir::entries).unwrap_or_default();
    let hidden = pattern.first() == Some(&Unit::Byte(b'.'));
    entries
        .iter()
        .filter(|entry| (hidden || !entry.name().starts_with(b".")) && matches(pattern, entry.name()))
        .map(|entry| [&text::join(directory, entry.name()), slash].concat())
        .filter(|path| slash.is_empty() || exists(path))
        .collect()
}

/// Matches without recursion: at a mismatch, the last `*` takes one character more.
fn matches(pattern: &[Unit], name: &[u8]) -> bool {
    let (mut unit, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(unit), name.get(at)) {
            (None, None) => return true,
            (Some(Unit::AnyRun), _) => {
                retry = Some((unit + 1, at));
                unit += 1;
                continue;
            }
            (Some(Unit::Byte(wanted)), Some(found)) if wanted == found => {
                unit += 1;
                at += 1;
                continue;
            }
            (Some(Unit::AnyOne), Some(_)) => {
                unit += 1;
                at += character_length(&name[at..]);
                continue;
            }
            (Some(Unit::Set { ranges, inside }), Some(found))
                if ranges.iter().any(|(low, high)| (low..=high).contains(&found)) == *inside =>
            {
                unit += 1;
                at += character_length(&name[at..]);
                continue;
            }
            _ => {}
        }
        match retry {
            Some((after, from)) if from < name.len() => {
                retry = Some((after, from + 1));
                unit = after;
                at = from + 1;
            }
            _ => return false,
        }
    }
}

/// The bytes of the first character: a UTF-8 character when there is one, else one byte.
fn character_length(bytes: &[u8]) -> usize {
    let first = bytes.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    first.map_or(1, char::len_utf8)
}

/// Reads a set after its `[`, and gives it with its length; `None` when no `]` closes it.
fn set(text: &[u8]) -> Option<(Unit, usize)> {
    let inside = !matches!(text.first(), Some(b'!' | b'^'));
    let start = usize::from(!inside);
    // A `]` directly at the start is a member.
    let end = start + 1 + text.get(start + 1..)?.iter().position(|&byte| byte == b']')?;
    let members = &text[start..end];
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&low) = members.get(at) {
        match members.get(at + 1..at + 3) {
            Some([b'-', high]) => {
                ranges.push((low, *high));
                at += 3;
            }
            _ => {
                ranges.push((low, low));
                at += 1;
            }
        }
    }
    Some((Unit::Set { ranges, inside }, end + 1))
}
