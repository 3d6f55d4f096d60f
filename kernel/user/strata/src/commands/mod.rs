//! The built-in commands: their table, and how one is called.
//!
//! Key types: [`Command`], a row of [`TABLE`]; [`Call`], one use of a command with its options and operands, through which it
//! reports what failed. A command goes on after an operand that failed, and ends with 1 then; 2 means wrong use, 130 Ctrl-C.
//!
//! Neighbours: one module for each family below; [`tree`] walks directories for those that do.

mod attributes;
mod contents;
mod copy;
mod directories;
mod files;
mod find;
mod inspect;
mod links;
mod list;
mod mounts;
mod remove;
mod session;
mod system;
mod tree;
mod xattrs;

use alloc::vec::Vec;
use core::cell::Cell;

use rustix::io::Errno;
use strata_rt::eprintln;
use strata_rt::errno::Shown as ShownErrno;
use strata_rt::text::Shown;

use crate::shell::Shell;

/// Status after a wrong use, and after Ctrl-C.
const WRONG_USE: u8 = 2;
const INTERRUPTED: u8 = 130;

/// How the arguments of a command are read.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// These option letters, a colon after each that has a value, then operands.
    Options(&'static str),
    /// Everything as it stands: the arguments are another command's.
    Everything,
}

/// A built-in command.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// What follows the name, for `help`.
    usage: &'static str,
    /// One sentence, for `help`.
    summary: &'static str,
    takes: Takes,
    run: fn(&mut Shell, &Call),
}

/// One use of a command.
pub(crate) struct Call {
    command: &'static Command,
    options: Vec<(u8, Vec<u8>)>,
    pub(crate) operands: Vec<Vec<u8>>,
    status: Cell<u8>,
}

macro_rules! table {
    ($($name:literal $usage:literal $takes:expr, $run:path, $summary:literal;)*) => {
        /// Every built-in command, in the order of their names.
        pub(crate) static TABLE: &[Command] = &[$(Command {
            name: $name, usage: $usage, summary: $summary, takes: $takes, run: $run,
        }),*];
    };
}

use Takes::{Everything, Options};

#[rustfmt::skip]
table! {
    "." "FILE" Options(""), session::source, "runs the commands in FILE, as `source` does";
    "append" "[-n] PATH TEXT..." Options("n"), files::append, "adds a line of TEXT to the end of the file; -n without the newline";
    "cat" "[FILE...]" Options(""), files::cat, "prints files, or its input";
    "cd" "[DIR]" Options(""), session::cd, "changes the working directory, to $HOME without DIR";
    "chmod" "[-R] MODE PATH..." Options("R"), attributes::chmod, "changes permissions: MODE is octal or like u+x,go-w";
    "chown" "[-hR] [USER][:GROUP] PATH..." Options("hR"), attributes::chown, "changes owner and group; -h of the link itself";
    "cmp" "FILE FILE" Options(""), inspect::cmp, "compares two files and names the first byte that differs";
    "cp" "[-aprT] SOURCE... TARGET" Options("aprRT"), copy::cp, "copies; -r directories, -p mode and times, -a all that, links and xattrs";
    "date" "[+FORMAT | -s 'YYYY-MM-DD HH:MM:SS']" Options("s:u"), system::date, "prints the date (UTC); FORMAT takes %Y %m %d %H %M %S %s %N %a %b %F %T";
    "df" "[PATH...]" Options(""), mounts::df, "shows how much room the mounted file systems have";
    "echo" "[-n] TEXT..." Everything, files::echo, "prints TEXT; -n without the newline";
    "exec" "PROGRAM [ARGUMENTS...]" Everything, system::exec, "puts a program in the place of the shell";
    "exit" "[STATUS]" Options(""), session::exit, "leaves the shell; the first process powers the machine off";
    "export" "[NAME=VALUE...]" Options(""), session::export, "sets variables, which programs see; shows them all without arguments";
    "false" "" Everything, session::fail, "fails";
    "find" "[DIR...] [-name GLOB] [-type fdlpscb] [-layer LAYER] [-maxdepth N] [-xdev] [-ls]" Everything, find::find, "lists a tree; -layer upper shows what was changed, lower what was not";
    "free" "" Options(""), system::free, "shows how much memory is free";
    "help" "[COMMAND...]" Options(""), session::help, "lists the commands, or explains some";
    "hexdump" "[-n COUNT] [-s SKIP] [FILE]" Options("n:s:C"), inspect::hexdump, "prints bytes in hexadecimal";
    "history" "" Options(""), session::history, "lists what was typed";
    "layer" "PATH..." Options(""), xattrs::layer, "tells which layer of the overlay holds each path";
    "ln" "[-sf] TARGET NAME" Options("sf"), links::ln, "makes a hard link, or with -s a symbolic one";
    "ls" "[-1adilR] [PATH...]" Options("1adliR"), list::ls, "lists names; -l with inode, mode, owner, size, time and layer, -a hidden ones, -R the tree";
    "mkdir" "[-p] [-m MODE] DIR..." Options("pm:"), directories::mkdir, "makes directories; -p with those above";
    "mkfifo" "PATH..." Options("m:"), directories::mkfifo, "makes FIFOs";
    "mknod" "PATH b|c MAJOR MINOR | PATH p" Options("m:"), directories::mknod, "makes a device node or a FIFO";
    "mount" "[-t TYPE] [-o OPTIONS] [SOURCE DIR]" Options("t:o:r"), mounts::mount, "mounts a file system; lists what is mounted without arguments";
    "mv" "[-nTx] SOURCE... TARGET" Options("nTxf"), copy::mv, "renames or moves; -n refuses to replace, -x exchanges the two";
    "poweroff" "" Options("f"), system::poweroff, "writes everything to the disk and switches the machine off";
    "pwd" "" Options(""), session::pwd, "prints the working directory";
    "readlink" "PATH..." Options(""), links::readlink, "prints what symbolic links point to";
    "reboot" "" Options("f"), system::reboot, "writes everything to the disk and starts the machine again";
    "rm" "[-rf] PATH..." Options("rRf"), remove::rm, "removes; -r directories with all in them, -f what is missing is no error";
    "rmdir" "DIR..." Options(""), directories::rmdir, "removes empty directories";
    "run" "PROGRAM [ARGUMENTS...]" Everything, system::run, "runs a program, found in $PATH";
    "set" "[-e|+e] [-x|+x]" Everything, session::set, "-e: scripts stop when a command fails; -x: commands are shown";
    "sleep" "SECONDS" Options(""), system::sleep, "waits";
    "source" "FILE" Options(""), session::source, "runs the commands in FILE";
    "stat" "[-L] PATH..." Options("L"), attributes::stat, "shows all that is known of a path; -L of what a link points to";
    "sum" "[FILE...]" Options(""), inspect::sum, "prints the SHA-256 of files, as sha256sum does";
    "sync" "[PATH...]" Options("d"), mounts::sync, "writes everything to the disk, or only some files; -d only their data";
    "test" "-e|-f|-d|-L|-s PATH | A = B | A != B" Everything, session::test, "succeeds when it is so";
    "time" "COMMAND..." Everything, system::time, "runs a command and tells how long it took";
    "touch" "[-ch] [-d 'YYYY-MM-DD HH:MM:SS' | @SECONDS] PATH..." Options("chd:"), attributes::touch, "makes empty files or sets times, now or -d; -c makes none, -h of the link itself";
    "true" "" Everything, session::succeed, "succeeds";
    "truncate" "-s [+-]SIZE PATH..." Options("s:c"), files::truncate, "sets the length of files; SIZE takes k, M, G";
    "umask" "[MODE]" Options(""), session::umask, "shows or sets which permissions new files do not get";
    "umount" "[-l] DIR..." Options("lf"), mounts::umount, "takes mounted file systems away";
    "uname" "[-a]" Options("asnrvm"), system::uname, "names the system";
    "unset" "NAME..." Options(""), session::unset, "forgets variables";
    "uptime" "" Options(""), system::uptime, "tells how long the system has run";
    "wc" "[-lwc] [FILE...]" Options("lwc"), inspect::wc, "counts lines, words and bytes";
    "write" "[-n] PATH TEXT..." Options("n"), files::write, "makes TEXT the whole content of the file; -n without the newline";
    "xattr" "list PATH... | get NAME PATH... | set NAME VALUE PATH... | rm NAME PATH..." Everything, xattrs::xattr, "shows and changes extended attributes";
}

/// The built-in called `name`.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    let at = TABLE.binary_search_by(|command| command.name.as_bytes().cmp(name)).ok()?;
    Some(&TABLE[at])
}

/// Calls `command` with `arguments`, its own name first, and gives its status.
pub(crate) fn call(shell: &mut Shell, command: &'static Command, arguments: Vec<Vec<u8>>) -> u8 {
    let mut call = Call { command, options: Vec::new(), operands: Vec::new(), status: Cell::new(0) };
    let arguments = arguments.into_iter().skip(1);
    match command.takes {
        Everything => call.operands = arguments.collect(),
        Options(letters) => {
            if !call.read_options(letters.as_bytes(), arguments) {
                return call.status.get();
            }
        }
    }
    (command.run)(shell, &call);
    call.status.get()
}

impl Call {
    /// Splits the arguments into options and operands; options end at `--` or at the first operand.
    fn read_options(&mut self, letters: &[u8], mut arguments: impl Iterator<Item = Vec<u8>>) -> bool {
        while let Some(argument) = arguments.next() {
            if argument.len() < 2 || argument[0] != b'-' {
                self.operands.push(argument);
                break;
            }
            if argument == b"--" {
                break;
            }
            let mut at = 1;
            while let Some(&letter) = argument.get(at) {
                at += 1;
                let known = letters.iter().position(|&known| known == letter && known != b':');
                let Some(known) = known else {
                    self.misuse(format_args!("no option -{}", Shown(&[letter])));
                    return false;
                };
                if letters.get(known + 1) != Some(&b':') {
                    self.options.push((letter, Vec::new()));
                    continue;
                }
                let value = if at < argument.len() { Some(argument[at..].into()) } else { arguments.next() };
                let Some(value) = value else {
                    self.misuse(format_args!("option -{} needs a value", char::from(letter)));
                    return false;
                };
                self.options.push((letter, value));
                break;
            }
        }
        self.operands.extend(arguments);
        true
    }

    /// Whether the option was given.
    fn has(&self, letter: u8) -> bool {
        self.options.iter().any(|(given, _)| *given == letter)
    }

    /// The last value that was given for the option.
    fn value(&self, letter: u8) -> Option<&[u8]> {
        self.options.iter().rev().find(|(given, _)| *given == letter).map(|(_, value)| &value[..])
    }

    /// The operands, or what stands for them when there are none.
    fn operands_or<'a>(&'a self, default: &'a [Vec<u8>]) -> &'a [Vec<u8>] {
        if self.operands.is_empty() { default } else { &self.operands }
    }

    /// Reports that `path` gave an error: `cmd: path: text (ERRNO)`.
    fn fail(&self, path: &[u8], errno: Errno) {
        eprintln!("{}: {}: {}", self.command.name, Shown(path), ShownErrno(errno));
        self.set_status(1);
    }

    /// Reports what is wrong with `subject` in words.
    fn complain(&self, subject: &[u8], words: &str) {
        eprintln!("{}: {}: {words}", self.command.name, Shown(subject));
        self.set_status(1);
    }

    /// Reports an error, if `result` is one, and gives its value else.
    fn check<T>(&self, path: &[u8], result: Result<T, Errno>) -> Option<T> {
        result.map_err(|errno| self.fail(path, errno)).ok()
    }

    /// Reports a wrong use.
    fn misuse(&self, words: core::fmt::Arguments<'_>) {
        let Command { name, usage, .. } = self.command;
        eprintln!("{name}: {words}\nusage: {name} {usage}");
        self.set_status(WRONG_USE);
    }

    /// Whether there are at least so many operands; else reports it.
    fn wants(&self, least: usize) -> bool {
        let enough = self.operands.len() >= least;
        if !enough {
            self.misuse(format_args!("an operand is missing"));
        }
        enough
    }

    /// Whether there are exactly so many operands; else reports it.
    fn wants_exactly(&self, count: usize) -> bool {
        let right = self.operands.len() == count;
        if !right {
            self.misuse(format_args!("takes {count} operands, got {}", self.operands.len()));
        }
        right
    }

    /// Whether the user has stopped the command with Ctrl-C.
    fn stopped(&self, shell: &mut Shell) -> bool {
        self.note(|| shell.console.interrupted())
    }

    /// As [`Call::stopped`], for a command that asks seldom.
    fn stopped_by_now(&self, shell: &mut Shell) -> bool {
        self.note(|| shell.console.interrupted_by_now())
    }

    fn note(&self, interrupted: impl FnOnce() -> bool) -> bool {
        if self.status.get() != INTERRUPTED && interrupted() {
            self.status.set(INTERRUPTED);
        }
        self.status.get() == INTERRUPTED
    }

    fn set_status(&self, status: u8) {
        if self.status.get() != INTERRUPTED {
            self.status.set(status);
        }
    }
}
