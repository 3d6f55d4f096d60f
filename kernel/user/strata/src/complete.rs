//! Completion: what the word at the cursor may become.
//!
//! Key type: [`Candidates`]. The first word of a command is completed with built-ins and programs, others with paths.

use alloc::vec::Vec;

use rustix::fs::FileType;
use strata_rt::text::{Shown, join};
use strata_rt::{dir, println};

use crate::commands;

/// Directories whose programs complete a command.
const PROGRAMS: [&[u8]; 4] = [b"/bin", b"/sbin", b"/usr/bin", b"/usr/sbin"];

/// The ways to complete the word that starts at `start`.
pub(crate) struct Candidates {
    /// The offset of the word in the line.
    pub(crate) start: usize,
    /// Each is the whole word, unquoted, and whether it is a directory.
    words: Vec<(Vec<u8>, bool)>,
    /// How much of each word is the directory before the name.
    prefix: usize,
}

/// The candidates for the last word of `line`, the text before the cursor.
pub(crate) fn candidates(line: &[u8]) -> Candidates {
    let (start, word, is_command) = last_word(line);
    let mut found = Candidates { start, words: Vec::new(), prefix: 0 };
    if is_command && !word.contains(&b'/') {
        let names = commands::TABLE.iter().map(|command| command.name.as_bytes());
        found.words.extend(names.filter(|name| name.starts_with(&word)).map(|name| (name.into(), false)));
        for directory in PROGRAMS {
            found.add_entries(directory, b"", &word, |kind| kind != FileType::Directory);
        }
    } else {
        let slash = word.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (directory, name) = word.split_at(slash);
        found.prefix = slash;
        found.add_entries(if directory.is_empty() { b"." } else { directory }, directory, name, |_| true);
    }
    found.words.sort_unstable();
    found.words.dedup();
    found
}

impl Candidates {
    fn add_entries(&mut self, place: &[u8], prefix: &[u8], name: &[u8], wanted: fn(FileType) -> bool) {
        // What cannot be read offers nothing.
        for entry in dir::open(place).and_then(dir::entries).unwrap_or_default() {
            let hidden = entry.name().starts_with(b".") && !name.starts_with(b".");
            if hidden || !entry.name().starts_with(name) || !wanted(entry.kind) {
                continue;
            }
            let is_directory = match entry.kind {
                FileType::Directory => true,
                FileType::Symlink | FileType::Unknown => dir::open(&join(place, entry.name())[..]).is_ok(),
                _ => false,
            };
            self.words.push(([prefix, entry.name()].concat(), is_directory));
        }
    }

    /// What all candidates start with, quoted for the line; a single one is finished with a slash or a space. `None` when
    /// there are none.
    pub(crate) fn common(&self) -> Option<Vec<u8>> {
        let (first, is_directory) = self.words.first()?;
        if self.words.len() == 1 {
            let mut word = quoted(first);
            word.push(if *is_directory { b'/' } else { b' ' });
            return Some(word);
        }
        let length = self.words.iter().fold(first.len(), |length, (word, _)| {
            first[..length].iter().zip(word).take_while(|(a, b)| a == b).count()
        });
        let whole = first[..length].utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
        Some(quoted(&first[..whole]))
    }

    /// Prints the names in columns.
    pub(crate) fn list(&self, width: usize) {
        let names: Vec<_> = self
            .words
            .iter()
            .map(|(word, is_directory)| {
                alloc::format!("{}{}", Shown(&word[self.prefix..]), if *is_directory { "/" } else { "" })
            })
            .collect();
        columns(&names, width);
    }
}

/// Prints `names` in as many columns as fit, sorted downwards.
pub(crate) fn columns(names: &[alloc::string::String], width: usize) {
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) + 2;
    let across = (width / widest).max(1);
    let rows = names.len().div_ceil(across);
    for row in 0..rows {
        let mut line = alloc::string::String::new();
        for name in names.iter().skip(row).step_by(rows) {
            let padding = (line.chars().count()).next_multiple_of(widest) - line.chars().count();
            line.extend(core::iter::repeat_n(' ', padding));
            line.push_str(name);
        }
        println!("{line}");
    }
}

/// `word` as it must be written to be one word that stands for itself.
pub(crate) fn quoted(word: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(word.len());
    for &byte in word {
        if b" \t\n'\"\\$;&|<>#*?[~".contains(&byte) {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted
}

/// The last word of `line` without its quotes, its offset, and whether it names a command.
fn last_word(line: &[u8]) -> (usize, Vec<u8>, bool) {
    let (mut start, mut word) = (0, Vec::new());
    let mut is_command = true;
    let mut quote = None;
    let mut at = 0;
    while at < line.len() {
        let byte = line[at];
        at += 1;
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(b'\''), _) => word.push(byte),
            (_, b'\\') if at < line.len() => {
                word.push(line[at]);
                at += 1;
            }
            (Some(_), _) => word.push(byte),
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b' ' | b'\t' | b';' | b'&' | b'|' | b'<' | b'>') => {
                is_command = match byte {
                    b';' | b'&' | b'|' => true,
                    b'<' | b'>' => false,
                    _ => is_command && word.is_empty(),
                };
                start = at;
                word.clear();
            }
            (None, _) => word.push(byte),
        }
    }
    (start, word, is_command)
}
