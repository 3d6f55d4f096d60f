//! The line editor, for a terminal that knows the plain ANSI sequences, or that only prints what it gets.
//!
//! Typing at the end of a line writes just the character, so the record of a session that was fed through a pipe reads like
//! the session. Only a change inside the line redraws it. Lines longer than the terminal wrap.
//!
//! Key types: [`Line`], what came of it; `Editor`, the line with its cursor. Its keys come from [`crate::keys`].

use alloc::vec::Vec;

use rustix::io::Errno;
use strata_rt::output;

use crate::complete::Candidates;
use crate::console::Console;
use crate::keys::{END_OF_INPUT, Key, read_key};

/// The longest line, in bytes.
const LIMIT: usize = 4096;

/// What the user gave.
pub(crate) enum Line {
    Text(Vec<u8>),
    /// Ctrl-C: the line is dropped.
    Cancelled,
    /// The input has ended, or Ctrl-D was typed on an empty line.
    End,
}

/// Reads one line after `prompt`; `complete` finds what the word at the cursor may become.
///
/// # Errors
/// Those of `read(2)` on standard input.
pub(crate) fn read_line(
    console: &mut Console,
    prompt: &[u8],
    history: &[Vec<u8>],
    complete: fn(&[u8]) -> Candidates,
) -> Result<Line, Errno> {
    console.take();
    let mut editor = Editor {
        width: console.width(),
        prompt,
        text: Vec::new(),
        cursor: 0,
        drawn: columns(prompt),
        killed: Vec::new(),
        history,
        recalled: history.len(),
        stashed: Vec::new(),
    };
    output::put(prompt);
    let (mut tabs, mut ends) = (0, 0);
    loop {
        let _ = output::flush();
        let Some(key) = read_key(console)? else {
            output::put(b"\n");
            return Ok(Line::End);
        };
        tabs = if matches!(key, Key::Tab) { tabs + 1 } else { 0 };
        ends = if matches!(key, Key::EndOfInput) { ends } else { 0 };
        match key {
            Key::Enter => {
                editor.leave();
                output::put(b"\n");
                return Ok(Line::Text(editor.text));
            }
            Key::Cancel => {
                editor.leave();
                output::put(b"^C\n");
                return Ok(Line::Cancelled);
            }
            Key::EndOfInput if editor.text.is_empty() => {
                output::put(b"\n");
                return Ok(Line::End);
            }
            Key::EndOfInput if editor.cursor == editor.text.len() => {
                ends += 1;
                if ends < 2 {
                    output::put(b"\x07");
                    continue;
                }
                // Twice, as on a terminal without an editor: once for the line, once for the end.
                editor.leave();
                output::put(b"\n");
                console.push_back(END_OF_INPUT);
                return Ok(Line::Text(editor.text));
            }
            Key::Tab => editor.complete(complete, tabs),
            key => editor.apply(key),
        }
    }
}

struct Editor<'a> {
    width: usize,
    prompt: &'a [u8],
    text: Vec<u8>,
    /// A byte offset in `text`, at the start of a character or at the end.
    cursor: usize,
    /// Where the terminal's cursor is, in columns from the start of the prompt, were the lines not wrapped.
    drawn: usize,
    killed: Vec<u8>,
    history: &'a [Vec<u8>],
    /// The line of the history that is shown; its length stands for the line that is being written.
    recalled: usize,
    stashed: Vec<u8>,
}

impl Editor<'_> {
    fn apply(&mut self, key: Key) {
        match key {
            Key::Character(character) => self.insert(&character),
            Key::Backspace => self.backspace(),
            Key::Delete | Key::EndOfInput => self.remove(self.cursor..self.next(self.cursor)),
            Key::Left => self.move_to(self.previous(self.cursor)),
            Key::Right => self.move_to(self.next(self.cursor)),
            Key::WordLeft => self.move_to(self.word_start()),
            Key::WordRight => self.move_to(self.word_end()),
            Key::Home => self.move_to(0),
            Key::End => self.move_to(self.text.len()),
            Key::Older => self.recall(self.recalled.checked_sub(1)),
            Key::Newer => self.recall(Some(self.recalled + 1)),
            Key::KillToEnd => self.kill(self.cursor..self.text.len()),
            Key::KillToStart => self.kill(0..self.cursor),
            Key::KillWord => self.kill(self.blank_word_start()..self.cursor),
            Key::KillWordRight => self.kill(self.cursor..self.word_end()),
            Key::Paste => {
                let killed = self.killed.clone();
                self.insert(&killed);
            }
            Key::Swap => self.swap(),
            Key::Clear => {
                output::put(b"\x1b[H\x1b[2J");
                self.drawn = 0;
                self.draw();
            }
            Key::Enter | Key::Tab | Key::Cancel | Key::Unknown => {}
        }
    }

    fn insert(&mut self, character: &[u8]) {
        if self.text.len() + character.len() > LIMIT {
            output::put(b"\x07");
            return;
        }
        let at_end = self.cursor == self.text.len();
        self.text.splice(self.cursor..self.cursor, character.iter().copied());
        self.cursor += character.len();
        if at_end {
            output::put(character);
            self.drawn += columns(character);
        } else {
            self.draw();
        }
    }

    fn backspace(&mut self) {
        let from = self.previous(self.cursor);
        let plain = self.cursor == self.text.len() && from < self.cursor && !self.drawn.is_multiple_of(self.width);
        if plain {
            self.text.truncate(from);
            self.cursor = from;
            self.drawn -= 1;
            output::put(b"\x08 \x08");
        } else {
            self.remove(from..self.cursor);
        }
    }

    fn remove(&mut self, range: core::ops::Range<usize>) {
        if range.is_empty() {
            return;
        }
        self.cursor = range.start;
        self.text.drain(range);
        self.draw();
    }

    fn kill(&mut self, range: core::ops::Range<usize>) {
        if !range.is_empty() {
            self.killed = self.text[range.clone()].into();
            self.remove(range);
        }
    }

    /// Exchanges the two characters before the cursor, or around it.
    fn swap(&mut self) {
        let middle = if self.cursor == self.text.len() { self.previous(self.cursor) } else { self.cursor };
        let (start, end) = (self.previous(middle), self.next(middle));
        if start < middle && middle < end {
            self.text[start..end].rotate_left(middle - start);
            self.cursor = end;
            self.draw();
        }
    }

    fn move_to(&mut self, cursor: usize) {
        if cursor != self.cursor {
            self.cursor = cursor;
            let target = columns(self.prompt) + columns(&self.text[..cursor]);
            self.place(target);
        }
    }

    fn recall(&mut self, line: Option<usize>) {
        let Some(line) = line.filter(|line| *line <= self.history.len()) else { return };
        if self.recalled == self.history.len() {
            self.stashed = self.text.clone();
        }
        self.recalled = line;
        self.text = self.history.get(line).unwrap_or(&self.stashed).clone();
        self.cursor = self.text.len();
        self.draw();
    }

    /// Puts in what all candidates share; when that is nothing new, a second Tab lists them.
    fn complete(&mut self, complete: fn(&[u8]) -> Candidates, tabs: usize) {
        let found = complete(&self.text[..self.cursor]);
        let Some(replacement) = found.common() else {
            output::put(b"\x07");
            return;
        };
        if replacement != self.text[found.start..self.cursor] {
            self.text.splice(found.start..self.cursor, replacement.iter().copied());
            self.cursor = found.start + replacement.len();
            self.draw();
        } else if tabs < 2 {
            output::put(b"\x07");
        } else {
            self.leave();
            output::put(b"\n");
            found.list(self.width);
            self.drawn = 0;
            self.draw();
        }
    }

    // ---- Positions

    fn previous(&self, from: usize) -> usize {
        (0..from).rev().find(|&at| is_start(self.text[at])).unwrap_or(0)
    }

    fn next(&self, from: usize) -> usize {
        (from + 1..self.text.len()).find(|&at| is_start(self.text[at])).unwrap_or(self.text.len())
    }

    /// The start of the word before the cursor; words are letters and digits.
    fn word_start(&self) -> usize {
        let end = self.text[..self.cursor].iter().rposition(|byte| is_word(*byte)).map_or(0, |last| last + 1);
        self.text[..end].iter().rposition(|byte| !is_word(*byte)).map_or(0, |before| before + 1)
    }

    fn word_end(&self) -> usize {
        let rest = &self.text[self.cursor..];
        let Some(start) = rest.iter().position(|byte| is_word(*byte)) else { return self.text.len() };
        rest[start..]
            .iter()
            .position(|byte| !is_word(*byte))
            .map_or(self.text.len(), |length| self.cursor + start + length)
    }

    /// The start of the word before the cursor; words are what stands between spaces.
    fn blank_word_start(&self) -> usize {
        let end = self.text[..self.cursor].iter().rposition(|&byte| byte != b' ').map_or(0, |last| last + 1);
        self.text[..end].iter().rposition(|&byte| byte == b' ').map_or(0, |before| before + 1)
    }

    // ---- Drawing

    /// Draws prompt and line anew and places the cursor.
    fn draw(&mut self) {
        self.place(0);
        output::put(b"\x1b[J");
        output::put(self.prompt);
        output::put(&self.text);
        self.drawn = columns(self.prompt) + columns(&self.text);
        let target = columns(self.prompt) + columns(&self.text[..self.cursor]);
        if target < self.drawn {
            self.place(target);
        }
    }

    /// Moves the terminal's cursor from where it is drawn to `target`.
    fn place(&mut self, target: usize) {
        if self.drawn > 0 && self.drawn.is_multiple_of(self.width) {
            // The terminal waits at the end of the full line; a character more brings it to the next.
            output::put(b" \r");
        }
        let (from, to) = (self.drawn / self.width, target / self.width);
        if to < from {
            strata_rt::print!("\x1b[{}A", from - to);
        } else if to > from {
            strata_rt::print!("\x1b[{}B", to - from);
        }
        output::put(b"\r");
        if !target.is_multiple_of(self.width) {
            strata_rt::print!("\x1b[{}C", target % self.width);
        }
        self.drawn = target;
    }

    /// Brings the cursor behind the line, before something else is printed.
    fn leave(&mut self) {
        self.move_to(self.text.len());
    }
}

/// Whether `byte` starts a UTF-8 character.
fn is_start(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// The columns that `text` takes, one for each character.
fn columns(text: &[u8]) -> usize {
    text.iter().filter(|byte| is_start(**byte)).count()
}
