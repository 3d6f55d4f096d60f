//! Words become arguments: variables are put in and patterns become the names they match.

use alloc::vec::Vec;

use crate::glob::Pattern;
use crate::shell::Shell;
use crate::syntax::{Piece, Word};

/// The arguments that `words` stand for. A word of variables alone that are all empty gives none; a pattern that matches
/// nothing stands for itself.
pub(crate) fn words(shell: &Shell, words: &[Word]) -> Vec<Vec<u8>> {
    let mut arguments = Vec::new();
    for word in words {
        let (text, pattern) = expand(shell, word);
        let matched = if pattern.is_wild() { pattern.paths() } else { Vec::new() };
        if !matched.is_empty() {
            arguments.extend(matched);
        } else if !text.is_empty() || !word.iter().all(|piece| matches!(piece, Piece::Variable(_))) {
            arguments.push(text);
        }
    }
    arguments
}

/// The one file name that `word` stands for; patterns are not looked at.
pub(crate) fn file_name(shell: &Shell, word: &Word) -> Vec<u8> {
    expand(shell, word).0
}

fn expand(shell: &Shell, word: &Word) -> (Vec<u8>, Pattern) {
    let mut text = Vec::new();
    let mut pattern = Pattern::default();
    for (index, piece) in word.iter().enumerate() {
        match piece {
            Piece::Plain(plain) if index == 0 && is_home(plain, word.len()) => {
                let home = shell.variable(b"HOME").unwrap_or_else(|| b"/root".into());
                let rest = &plain[1..];
                text.extend_from_slice(&home);
                text.extend_from_slice(rest);
                pattern.push_literal(&home);
                pattern.push_plain(rest);
            }
            Piece::Plain(plain) => {
                text.extend_from_slice(plain);
                pattern.push_plain(plain);
            }
            Piece::Quoted(quoted) => {
                text.extend_from_slice(quoted);
                pattern.push_literal(quoted);
            }
            Piece::Variable(name) => {
                let value = shell.variable(name).unwrap_or_default();
                text.extend_from_slice(&value);
                pattern.push_literal(&value);
            }
        }
    }
    (text, pattern)
}

/// Whether a word's first piece starts with the home directory: `~` alone or `~/…`.
fn is_home(plain: &[u8], pieces: usize) -> bool {
    plain.starts_with(b"~/") || (plain == b"~" && pieces == 1)
}
