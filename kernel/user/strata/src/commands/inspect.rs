//! What is in files: `sum`, `wc`, `cmp`, `hexdump`.

use alloc::vec::Vec;

use rustix::fs::{SeekFrom, seek};
use rustix::io::{Errno, pread};
use sha2::{Digest, Sha256};
use strata_rt::file::for_each_chunk;
use strata_rt::text::{Hex, Shown, parse_size};
use strata_rt::{print, println};

use super::Call;
use super::files::{Source, open_source};
use crate::shell::Shell;

pub(super) fn sum(shell: &mut Shell, call: &Call) {
    for path in call.operands_or(&[b"-".into()]) {
        let mut digest = Sha256::new();
        if !scan(shell, call, path, |piece| digest.update(piece)) {
            continue;
        }
        println!("{}  {}", Hex(&digest.finalize()), Shown(path));
    }
}

/// Gives every piece of the file to `take`, and tells whether it was read to its end.
fn scan(shell: &mut Shell, call: &Call, path: &[u8], mut take: impl FnMut(&[u8])) -> bool {
    let Some(source) = call.check(path, open_source(shell, path)) else { return false };
    let result = for_each_chunk(&source, |piece| {
        take(piece);
        if call.stopped_by_now(shell) { Err(Errno::INTR) } else { Ok(()) }
    });
    !call.stopped(shell) && call.check(path, result).is_some()
}

#[derive(Clone, Copy, Default)]
struct Counts {
    lines: u64,
    words: u64,
    bytes: u64,
}

impl Counts {
    fn print(self, call: &Call, name: &[u8]) {
        let all = !(call.has(b'l') || call.has(b'w') || call.has(b'c'));
        for (letter, count) in [(b'l', self.lines), (b'w', self.words), (b'c', self.bytes)] {
            if all || call.has(letter) {
                print!("{count:>8} ");
            }
        }
        println!("{}", Shown(name));
    }
}

pub(super) fn wc(shell: &mut Shell, call: &Call) {
    let mut total = Counts::default();
    let input = [b"-".into()];
    let paths = call.operands_or(&input);
    for path in paths {
        let mut counts = Counts::default();
        let mut in_word = false;
        let whole = scan(shell, call, path, |piece| {
            counts.bytes += piece.len() as u64;
            for byte in piece {
                counts.lines += u64::from(*byte == b'\n');
                let blank = byte.is_ascii_whitespace() || *byte == 0x0b;
                counts.words += u64::from(!blank && !in_word);
                in_word = !blank;
            }
        });
        if whole {
            counts.print(call, path);
            total.lines += counts.lines;
            total.words += counts.words;
            total.bytes += counts.bytes;
        }
    }
    if paths.len() > 1 {
        total.print(call, b"total");
    }
}

pub(super) fn cmp(shell: &mut Shell, call: &Call) {
    if !call.wants_exactly(2) {
        return;
    }
    let (one, other) = (&call.operands[0], &call.operands[1]);
    let Some(second) = call.check(other, open_source(shell, other)) else { return };
    let mut offset = 0_u64;
    let mut difference = None;
    let mut buffer = Vec::new();
    let Some(first) = call.check(one, open_source(shell, one)) else { return };
    let compared = for_each_chunk(&first, |piece| {
        buffer.clear();
        buffer.try_reserve(piece.len()).map_err(|_| Errno::NOMEM)?;
        buffer.resize(piece.len(), 0);
        let count = read_at(&second, &mut buffer, offset)?;
        let common = piece.iter().zip(&buffer[..count]).take_while(|(a, b)| a == b).count();
        if common < piece.len() {
            let ended = common == count;
            difference = Some((offset + common as u64, if ended { Some(other) } else { None }));
            return Err(Errno::CANCELED);
        }
        offset += piece.len() as u64;
        Ok(())
    });
    match (compared, difference) {
        (Ok(()), _) => match read_at(&second, &mut [0], offset) {
            Ok(0) => {}
            Ok(_) => call.complain(one, &alloc::format!("ends after {offset} bytes, the other goes on")),
            Err(errno) => call.fail(other, errno),
        },
        (Err(_), Some((offset, Some(short)))) => {
            call.complain(short, &alloc::format!("ends after {offset} bytes, the other goes on"));
        }
        (Err(_), Some((offset, None))) => {
            println!("{} {} differ: byte {}", Shown(one), Shown(other), offset + 1);
            call.set_status(1);
        }
        (Err(errno), None) => call.fail(one, errno),
    }
}

/// Fills `buffer` from `offset` as far as the file goes.
fn read_at(source: &Source, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        match pread(source, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}

pub(super) fn hexdump(shell: &mut Shell, call: &Call) {
    let size = |letter, default| call.value(letter).map_or(Some(default), parse_size);
    let (Some(skip), Some(mut left)) = (size(b's', 0), size(b'n', u64::MAX)) else {
        call.misuse(format_args!("-s and -n take a size, like 512 or 4k"));
        return;
    };
    let input = [b"-".into()];
    let path = &call.operands_or(&input)[0];
    let Some(source) = call.check(path, open_source(shell, path)) else { return };
    if skip > 0 && call.check(path, seek(&source, SeekFrom::Start(skip))).is_none() {
        return;
    }
    let mut offset = skip;
    let mut row = Vec::with_capacity(16);
    let result = for_each_chunk(&source, |piece| {
        for &byte in piece {
            if left == 0 {
                return Err(Errno::CANCELED);
            }
            left -= 1;
            row.push(byte);
            if row.len() == 16 {
                print_row(offset, &row);
                offset += 16;
                row.clear();
                if call.stopped(shell) {
                    return Err(Errno::INTR);
                }
            }
        }
        Ok(())
    });
    if call.stopped(shell) {
        return;
    }
    if !row.is_empty() {
        print_row(offset, &row);
        offset += row.len() as u64;
    }
    match result {
        Ok(()) | Err(Errno::CANCELED) => println!("{offset:08x}"),
        Err(errno) => call.fail(path, errno),
    }
}

fn print_row(offset: u64, row: &[u8]) {
    print!("{offset:08x} ");
    for at in 0..16 {
        print!("{}", if at == 8 { "  " } else { " " });
        match row.get(at) {
            Some(byte) => print!("{byte:02x}"),
            None => print!("  "),
        }
    }
    let text: alloc::string::String =
        row.iter().map(|&byte| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' }).collect();
    println!("  |{text}|");
}
