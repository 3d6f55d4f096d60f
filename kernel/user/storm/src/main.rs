//! `storm`: works on a tree, promises what it synced, and finds it again after a power cut. See the library.
//!
//! ```text
//! storm prepare DIR                     makes the tree before the first step, for a firmware archive
//! storm run DIR SEED LEAST [UNTIL]      finds after which step the tree is, LEAST or later, and makes steps up to UNTIL
//! ```
//! `run` prints `storm: found N`, then a line `synced N` once all up to step N is durable, and at the end `storm: done N`. What fails
//! is said in a line that starts with `storm:`, with status 1.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod carry;
mod look;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pwrite};
use storm::{Kind, MARK, Model, Promise, find, mark, promise};
use strata_rt::errno::Shown as ShownErrno;
use strata_rt::{Arguments, dir, eprintln, output, println};

strata_rt::entry!(main);

/// How many steps after the last promise that the caller knows of the tree may be.
const MORE: u64 = 512;

fn main(arguments: Arguments) -> u8 {
    let words: Vec<&[u8]> = arguments.iter().skip(1).collect();
    let result = match words[..] {
        [b"prepare", path] => prepare(path),
        [b"run", path, seed, least] => parse([seed, least]).and_then(|[seed, least]| run(path, seed, least, u64::MAX)),
        [b"run", path, seed, least, until] => {
            parse([seed, least, until]).and_then(|[seed, least, until]| run(path, seed, least, until))
        }
        _ => Err("usage: storm prepare DIR | storm run DIR SEED LEAST [UNTIL]".into()),
    };
    match result {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("storm: {why}");
            1
        }
    }
}

fn parse<const COUNT: usize>(words: [&[u8]; COUNT]) -> Result<[u64; COUNT], String> {
    let mut numbers = [0; COUNT];
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = core::str::from_utf8(word)
            .ok()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| format!("{} is no number", word.escape_ascii()))?;
    }
    Ok(numbers)
}

/// An error of `what`, in words.
fn failed(what: &str) -> impl FnOnce(Errno) -> String {
    move |errno| format!("{what}: {}", ShownErrno(errno))
}

fn prepare(path: &[u8]) -> Result<(), String> {
    let top = dir::open(path).map_err(failed("the directory"))?;
    for (path, node) in Model::new(0).tree().iter() {
        carry::make(&top, path, node).map_err(failed("making the tree"))?;
    }
    carry::put(&top, MARK, &mark(0)).map_err(failed("making the mark"))
}

fn run(path: &[u8], seed: u64, least: u64, until: u64) -> Result<(), String> {
    let top = dir::open(path).map_err(failed("the directory"))?;
    let found = look::tree(&top).map_err(failed("reading the tree"))?;
    let mut model = find(&found, seed, least, least + MORE)?;
    // What is ahead goes back to where the rest is.
    for (path, node) in model.tree().iter() {
        if let (Kind::File(bytes), Some(is)) = (&node.kind, found.at(path))
            && node.kind != is.kind
        {
            carry::overwrite(&top, path, 0, bytes).map_err(failed("putting a file back"))?;
        }
    }
    let marker = openat(&top, MARK, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed("the mark"))?;
    rustix::fs::syncfs(&top).map_err(failed("syncing"))?;
    say(format_args!("storm: found {}", model.steps()));
    while model.steps() < until {
        let step = model.advance();
        let in_words = |errno| format!("step {}: {}: {:?}", step.number, ShownErrno(errno), step.change);
        carry::out(&top, &step, model.tree()).map_err(in_words)?;
        match promise(seed, step.number) {
            None => continue,
            Some(Promise::All) => rustix::fs::syncfs(&top).map_err(in_words)?,
            Some(Promise::Changed) => carry::sync_changed(&top, &step, model.tree()).map_err(in_words)?,
        }
        say(format_args!("synced {}", step.number));
        pwrite(&marker, &mark(step.number), 0).map_err(in_words)?;
        rustix::fs::fdatasync(&marker).map_err(in_words)?;
    }
    say(format_args!("storm: done {}", model.steps()));
    Ok(())
}

/// Prints a line at once.
fn say(line: core::fmt::Arguments<'_>) {
    println!("{line}");
    // Who reads the console sees that it is gone.
    let _ = output::flush();
}
