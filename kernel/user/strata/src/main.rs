//! `strata`, the shell of the appliance.
//!
//! One program that reads commands, from a terminal with line editing, from a pipe, from a file or from its arguments, and
//! carries them out itself: there is nothing to fork. As the first process it greets, never returns, and powers the machine
//! off at the end of its input.
//!
//! Layers, from the top: [`shell`] (the loop and its state) over [`syntax`] and [`expand`] (a line becomes words) and
//! [`commands`] (the table and every built-in); [`editor`], [`complete`] and [`console`] (the terminal); `strata-rt` below.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod commands;
mod complete;
mod console;
mod editor;
mod expand;
mod glob;
mod redirect;
mod shell;
mod syntax;
mod users;

use strata_rt::{Arguments, eprintln};

use shell::Shell;

strata_rt::entry!(main);

const USAGE: &str = "usage: strata [-ex] [-c 'COMMANDS' | FILE [ARGUMENTS...]]";

fn main(arguments: Arguments) -> u8 {
    let mut shell = Shell::new(arguments);
    let mut rest = arguments.iter().skip(1);
    loop {
        match rest.next() {
            None if shell.is_first_process() => shell.serve(),
            None => return shell.converse(),
            Some(b"-c") => match rest.next() {
                Some(text) => return shell.run_script(text),
                None => break,
            },
            Some(b"-x") => shell.set_tracing(shell::Tracing::On),
            Some(b"-e") => shell.set_failure_policy(shell::OnFailure::Stop),
            Some(b"--help") => break,
            // A kernel passes what it does not know of its command line to the first process; those are no files to run.
            Some(_) if shell.is_first_process() => {}
            Some(option) if option.starts_with(b"-") && option.len() > 1 => break,
            Some(path) => {
                shell.set_positional(path, rest);
                return shell.run_file(path);
            }
        }
    }
    eprintln!("{USAGE}");
    2
}
