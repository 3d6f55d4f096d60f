//! The grammar: a line becomes a list of commands, each a list of words and redirections.
//!
//! ```text
//! line        = command { (";" | "&&" | "||" | newline) command } ["#" comment]
//! command     = { word | (">" | ">>" | "<") word }
//! word        = one or more of: plain text, '…', "…", \c, $NAME, ${NAME}, $?, $0 … $9
//! ```
//! Key types: [`Step`], a command and when it runs; [`Word`], pieces not yet expanded, because `$?` changes as a line runs.
//! Pipes and background commands are refused by name: one process runs at a time.

use alloc::vec::Vec;

/// When a command runs, given the status of the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    AfterSuccess,
    AfterFailure,
}

/// A part of a word.
pub(crate) enum Piece {
    /// Text outside quotes: `*`, `?` and `[` in it match file names.
    Plain(Vec<u8>),
    /// Text inside quotes or after a backslash: every character stands for itself.
    Quoted(Vec<u8>),
    /// A variable, outside quotes or inside.
    Variable(Vec<u8>),
}

pub(crate) type Word = Vec<Piece>;

/// What a redirection does with its file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Replace,
    Append,
}

/// One command with its place in the line.
pub(crate) struct Step {
    pub(crate) when: When,
    pub(crate) words: Vec<Word>,
    pub(crate) redirections: Vec<(Direction, Word)>,
}

/// Why a line is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// More lines may complete it.
    Unfinished(&'static str),
    /// Nothing completes it.
    Wrong(&'static str),
}

use Refusal::{Unfinished, Wrong};

/// Reads `text`, one line or several.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Step>, Refusal> {
    Parser { text, at: 0 }.parse()
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, expected: u8) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    fn parse(mut self) -> Result<Vec<Step>, Refusal> {
        let mut steps = Vec::new();
        let mut when = When::Always;
        loop {
            let step = self.step(when)?;
            let empty = step.words.is_empty() && step.redirections.is_empty();
            if !empty {
                steps.push(step);
            }
            let Some(separator) = self.peek() else {
                let complete = !empty || when == When::Always;
                return if complete { Ok(steps) } else { Err(Unfinished("a command is missing after && or ||")) };
            };
            self.at += 1;
            let doubled = separator != b'\n' && separator != b';' && self.skip(separator);
            when = match (separator, doubled) {
                (b'\n', _) if empty && when != When::Always => continue,
                (b'\n' | b';', _) => When::Always,
                (b'&', true) => When::AfterSuccess,
                (b'|', true) => When::AfterFailure,
                (b'|', _) => {
                    return Err(Wrong("pipes need a second process at the same time, which this shell does not start"));
                }
                _ => return Err(Wrong("there are no background commands")),
            };
            if empty && separator != b'\n' {
                return Err(Wrong("a command is missing before ; or && or ||"));
            }
        }
    }

    /// Reads up to a separator, which it leaves, or to the end.
    fn step(&mut self, when: When) -> Result<Step, Refusal> {
        let mut step = Step { when, words: Vec::new(), redirections: Vec::new() };
        loop {
            while matches!(self.peek(), Some(b' ' | b'\t' | b'\r')) {
                self.at += 1;
            }
            match self.peek() {
                None | Some(b'\n' | b';' | b'&' | b'|') => return Ok(step),
                Some(b'#') => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                Some(sign @ (b'<' | b'>')) => {
                    self.at += 1;
                    let direction = match sign {
                        b'<' => Direction::Read,
                        _ if self.skip(b'>') => Direction::Append,
                        _ => Direction::Replace,
                    };
                    while matches!(self.peek(), Some(b' ' | b'\t')) {
                        self.at += 1;
                    }
                    let word = self.word()?;
                    if word.is_empty() {
                        return Err(Wrong("a file name is missing after < or >"));
                    }
                    step.redirections.push((direction, word));
                }
                Some(_) => {
                    let word = self.word()?;
                    // A continued line alone is no word.
                    if !word.is_empty() {
                        step.words.push(word);
                    }
                }
            }
        }
    }

    fn word(&mut self) -> Result<Word, Refusal> {
        let mut word = Word::new();
        let mut plain = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' => break,
                b'\'' | b'"' | b'\\' | b'$' => {
                    if !plain.is_empty() {
                        word.push(Piece::Plain(core::mem::take(&mut plain)));
                    }
                    self.at += 1;
                    match byte {
                        b'\'' => self.single_quoted(&mut word)?,
                        b'"' => self.double_quoted(&mut word)?,
                        b'\\' => {
                            let escaped = self.peek().ok_or(Unfinished("a character is missing after \\"))?;
                            self.at += 1;
                            if escaped != b'\n' {
                                word.push(Piece::Quoted([escaped].into()));
                            } else if self.at == self.text.len() {
                                return Err(Unfinished("a line is missing after \\"));
                            }
                        }
                        _ => word.push(self.variable()?),
                    }
                }
                _ => {
                    plain.push(byte);
                    self.at += 1;
                }
            }
        }
        if !plain.is_empty() {
            word.push(Piece::Plain(plain));
        }
        Ok(word)
    }

    fn single_quoted(&mut self, word: &mut Word) -> Result<(), Refusal> {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\'').ok_or(Unfinished("the closing ' is missing"))?;
        word.push(Piece::Quoted(rest[..length].into()));
        self.at += length + 1;
        Ok(())
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), Refusal> {
        let mut text = Vec::new();
        loop {
            let byte = self.peek().ok_or(Unfinished("the closing \" is missing"))?;
            self.at += 1;
            match byte {
                b'"' => {
                    // Pushed even when empty: "" is a word.
                    word.push(Piece::Quoted(text));
                    return Ok(());
                }
                b'\\' => match self.peek() {
                    Some(next @ (b'"' | b'\\' | b'$')) => {
                        text.push(next);
                        self.at += 1;
                    }
                    Some(b'\n') => self.at += 1,
                    _ => text.push(b'\\'),
                },
                b'$' => {
                    word.push(Piece::Quoted(core::mem::take(&mut text)));
                    word.push(self.variable()?);
                }
                _ => text.push(byte),
            }
        }
    }

    /// Reads what follows `$`. A `$` before anything but a name stands for itself.
    fn variable(&mut self) -> Result<Piece, Refusal> {
        let rest = &self.text[self.at..];
        if rest.first() == Some(&b'{') {
            let length = rest.iter().position(|&byte| byte == b'}').ok_or(Wrong("the closing } is missing"))?;
            let name = &rest[1..length];
            if !is_name(name) && !is_special(name) {
                return Err(Wrong("no variable's name is in ${}"));
            }
            self.at += length + 1;
            return Ok(Piece::Variable(name.into()));
        }
        let length = match rest.first() {
            Some(first) if is_special(&[*first]) => 1,
            Some(first) if first.is_ascii_digit() => 0,
            _ => rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count(),
        };
        self.at += length;
        Ok(if length == 0 { Piece::Quoted(b"$".into()) } else { Piece::Variable(rest[..length].into()) })
    }
}

/// Whether `name` is one that a variable may have.
pub(crate) fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|first| !first.is_ascii_digit())
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn is_special(name: &[u8]) -> bool {
    matches!(name, [b'?' | b'#' | b'0'..=b'9'])
}
