//! `strata`, the shell of the appliance.
//!
//! One program that reads commands, from a terminal with line editing, from a pipe, from a file or from its arguments, and
//! carries them out itself: there is nothing to fork. As the first process it greets, never returns, and powers the machine
//! off at the end of its input.
//!
//! Layers, from the top: [`shell`] (the loop and its state) over [`syntax`] and [`expand`] (a line becomes words) and
//! [`commands`] (the table and every built-in); [`editor`], [`keys`], [`complete`] and [`console`] (the terminal); `strata-rt` below.

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
mod keys;
mod programs;
mod redirect;
mod shell;
mod syntax;
mod users;

use strata_rt::{Arguments, eprintln};

use shell::{OnFailure, Shell, Tracing};

strata_rt::entry!(main);

const USAGE: &str = "usage: strata [-ex] [-c 'COMMANDS' | FILE [ARGUMENTS...]]";

fn main(arguments: Arguments) -> u8 {
    let mut shell = Shell::new(arguments);
    let status = start(&mut shell, arguments);
    if shell.is_first_process() { shell.power_off() } else { status }
}

/// Does what the arguments say, and gives the status to end with.
fn start(shell: &mut Shell, arguments: Arguments) -> u8 {
    shell.prepare();
    let mut rest = arguments.iter().skip(1);
    loop {
        match rest.next() {
            None => return shell.converse(),
            Some(b"-c") => match rest.next() {
                Some(text) => return shell.run_script(text),
                None => break,
            },
            Some(b"-x") => shell.set_tracing(Tracing::On),
            Some(b"-e") => shell.set_failure_policy(OnFailure::Stop),
            Some(option) if option.starts_with(b"-") => break,
            Some(path) => {
                shell.set_positional(path, rest);
                return shell.run_file(path);
            }
        }
    }
    eprintln!("{USAGE}");
    2
}
