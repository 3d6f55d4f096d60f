//! The shell's own matters: where it is, its variables, its end, its help.

use alloc::vec::Vec;

use rustix::fs::{FileType, Mode, lstat, stat};
use rustix::process::{chdir, getcwd};
use strata_rt::println;
use strata_rt::text::{Shown, parse_number};

use super::attributes::parse_octal;
use super::tree::kind;
use super::{Call, TABLE, find};
use crate::complete::columns;
use crate::console::Input;
use crate::shell::{OnFailure, Shell, Tracing, assignment};
use crate::syntax::is_name;

pub(super) fn pwd(_: &mut Shell, call: &Call) {
    if let Some(path) = call.check(b".", getcwd(Vec::new())) {
        println!("{}", Shown(path.to_bytes()));
    }
}

pub(super) fn cd(shell: &mut Shell, call: &Call) {
    let home = [shell.variable(b"HOME").unwrap_or_else(|| b"/".into())];
    let mut path = call.operands_or(&home)[0].clone();
    let back = path == b"-";
    if back {
        let Some(old) = shell.variable(b"OLDPWD") else {
            call.complain(b"-", "there is no directory to go back to");
            return;
        };
        path = old;
    }
    let here = getcwd(Vec::new());
    if call.check(&path, chdir(&path[..])).is_some() {
        if let Ok(here) = here {
            shell.set_variable(b"OLDPWD", here.to_bytes());
        }
        if back {
            println!("{}", Shown(&path));
        }
    }
}

pub(super) fn exit(shell: &mut Shell, call: &Call) {
    let status = match call.operands.first() {
        None => shell.status,
        Some(text) => match parse_number(text, 10) {
            // As everywhere, the low eight bits count.
            Some(number) => (number & 0xff) as u8,
            None => {
                call.misuse(format_args!("STATUS is a number"));
                return;
            }
        },
    };
    call.set_status(status);
    shell.end(status);
}

pub(super) fn source(shell: &mut Shell, call: &Call) {
    if call.wants_exactly(1) {
        call.set_status(shell.run_file(&call.operands[0]));
    }
}

pub(super) fn set(shell: &mut Shell, call: &Call) {
    for option in &call.operands {
        match &option[..] {
            b"-e" => shell.set_failure_policy(OnFailure::Stop),
            b"+e" => shell.set_failure_policy(OnFailure::Continue),
            b"-x" => shell.set_tracing(Tracing::On),
            b"+x" => shell.set_tracing(Tracing::Off),
            _ => call.misuse(format_args!("no option {}", Shown(option))),
        }
    }
}

pub(super) fn export(shell: &mut Shell, call: &Call) {
    if call.operands.is_empty() {
        shell.environment().iter().for_each(|line| println!("{}", Shown(line)));
    }
    for word in &call.operands {
        match assignment(word) {
            Some((name, value)) => shell.set_variable(name, value),
            // Every variable is given to programs, so there is nothing to do for one that exists.
            None if is_name(word) => {}
            None => call.complain(word, "is not like NAME=VALUE"),
        }
    }
}

pub(super) fn unset(shell: &mut Shell, call: &Call) {
    for name in &call.operands {
        shell.unset_variable(name);
    }
}

pub(super) fn umask(_: &mut Shell, call: &Call) {
    match call.operands.first() {
        None => println!("{:04o}", super::copy::umask()),
        Some(text) => match parse_octal(text) {
            Some(mask) => {
                rustix::process::umask(mask & Mode::from_raw_mode(0o777));
            }
            None => call.misuse(format_args!("MODE is octal")),
        },
    }
}

pub(super) fn history(shell: &mut Shell, _: &Call) {
    for (number, line) in shell.history.iter().enumerate() {
        println!("{:>4}  {}", number + 1, Shown(line));
    }
}

pub(super) fn succeed(_: &mut Shell, _: &Call) {}

pub(super) fn fail(_: &mut Shell, call: &Call) {
    call.set_status(1);
}

pub(super) fn test(_: &mut Shell, call: &Call) {
    let words: Vec<&[u8]> = call.operands.iter().map(|word| &word[..]).collect();
    let holds = match words[..] {
        [b"-e", path] => stat(path).is_ok(),
        [b"-f", path] => stat(path).is_ok_and(|found| kind(&found) == FileType::RegularFile),
        [b"-d", path] => stat(path).is_ok_and(|found| kind(&found) == FileType::Directory),
        [b"-L", path] => lstat(path).is_ok_and(|found| kind(&found) == FileType::Symlink),
        [b"-s", path] => stat(path).is_ok_and(|found| found.st_size > 0),
        [left, b"=", right] => left == right,
        [left, b"!=", right] => left != right,
        _ => {
            call.misuse(format_args!("knows no such test"));
            return;
        }
    };
    call.set_status(u8::from(!holds));
}

pub(super) fn help(shell: &mut Shell, call: &Call) {
    for name in &call.operands {
        match find(name) {
            Some(command) => println!("{} {}\n    {}", command.name, command.usage, command.summary),
            None => call.complain(name, "no such command"),
        }
    }
    if !call.operands.is_empty() {
        return;
    }
    println!("Commands (`help COMMAND` explains one; anything else is a program, found in $PATH):\n");
    let names: Vec<_> = TABLE.iter().map(|command| command.name.into()).collect();
    let width = if shell.console.input() == Input::Terminal { shell.console.width() } else { 80 };
    columns(&names, width);
    println!("\nWords: '..' \"..\" \\c $NAME $? * ? [a-z] ~   Lines: ; && || # > >> <");
    println!(
        "Keys: arrows, Home, End, Tab, Ctrl-A E K U W Y T L, Alt-B F D; Ctrl-C drops the line, Ctrl-D ends the input"
    );
    if stat(c"/usr/share/strata/tour").is_ok() {
        println!("A tour of the overlay: source /usr/share/strata/tour");
    }
    if shell.is_first_process() {
        println!("`exit` or the end of the input switches the machine off.");
    }
}
