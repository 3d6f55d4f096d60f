//! What was pressed: bytes of a terminal as keys.
//!
//! Key type: [`Key`], read by [`read_key`]. Cursor keys are known in the forms of the common terminals.

use alloc::vec::Vec;

use rustix::io::Errno;

use crate::console::Console;

/// Ctrl-D.
pub(crate) const END_OF_INPUT: u8 = 4;

/// What was pressed.
pub(crate) enum Key {
    Character(Vec<u8>),
    Enter,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Older,
    Newer,
    Cancel,
    EndOfInput,
    KillToEnd,
    KillToStart,
    KillWord,
    KillWordRight,
    Paste,
    Swap,
    Clear,
    Unknown,
}

/// The next key; `None` at the end of the input.
///
/// # Errors
/// Those of `read(2)` on standard input.
pub(crate) fn read_key(console: &mut Console) -> Result<Option<Key>, Errno> {
    let Some(byte) = console.read_byte()? else { return Ok(None) };
    Ok(Some(match byte {
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x7f | 0x08 => Key::Backspace,
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Cancel,
        END_OF_INPUT => Key::EndOfInput,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x0b => Key::KillToEnd,
        0x0c => Key::Clear,
        0x0e => Key::Newer,
        0x10 => Key::Older,
        0x14 => Key::Swap,
        0x15 => Key::KillToStart,
        0x17 => Key::KillWord,
        0x19 => Key::Paste,
        0x1b => return escape(console),
        0x00..=0x1f => Key::Unknown,
        _ => {
            let mut character: Vec<u8> = [byte].into();
            let length = match byte {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => 1,
            };
            while character.len() < length {
                let Some(next) = console.read_byte()? else { return Ok(None) };
                character.push(next);
            }
            // What is not UTF-8 cannot be shown at a known width.
            if core::str::from_utf8(&character).is_ok() { Key::Character(character) } else { Key::Unknown }
        }
    }))
}

/// Reads what follows ESC: the sequences of cursor keys, and Alt with a letter.
fn escape(console: &mut Console) -> Result<Option<Key>, Errno> {
    let Some(first) = console.read_byte()? else { return Ok(None) };
    if first != b'[' && first != b'O' {
        return Ok(Some(match first {
            b'b' => Key::WordLeft,
            b'f' => Key::WordRight,
            b'd' => Key::KillWordRight,
            0x7f | 0x08 => Key::KillWord,
            _ => Key::Unknown,
        }));
    }
    let mut parameters = Vec::new();
    loop {
        let Some(byte) = console.read_byte()? else { return Ok(None) };
        if !(0x40..=0x7e).contains(&byte) {
            if parameters.len() < 16 {
                parameters.push(byte);
            }
            continue;
        }
        let word = parameters.ends_with(b";5") || parameters.ends_with(b";3");
        return Ok(Some(match (byte, &parameters[..]) {
            (b'A', _) => Key::Older,
            (b'B', _) => Key::Newer,
            (b'C', _) if word => Key::WordRight,
            (b'D', _) if word => Key::WordLeft,
            (b'C', _) => Key::Right,
            (b'D', _) => Key::Left,
            (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
            (b'F', _) | (b'~', b"4" | b"8") => Key::End,
            (b'~', b"3") => Key::Delete,
            _ => Key::Unknown,
        }));
    }
}
