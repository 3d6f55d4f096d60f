//! What can be started: scripts by their interpreters, and what is refused.

use alloc::vec::Vec;

use vfs::{AT_FDCWD, AtFlags};

use super::calls::{arguments, exit};
use super::{executable, run_file, write_file};
use crate::exec::{self, Strings};
use crate::init::kernel_context;
use crate::suite::Failure;
use crate::task::process::ExitStatus;
use crate::{ensure, ensure_eq, test};

test!(
    "syscalls",
    fn a_script_runs_by_its_interpreter() {
        let context = kernel_context();
        write_file(&context, "program", &executable(arguments()), 0o755)?;
        // The interpreter sees itself, its argument, the script's path: three.
        write_file(&context, "script", b"#! /suite/program  two\nanything", 0o755)?;
        ensure_eq!(run_file(&context, "script", &[])?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn what_is_no_program_is_refused() {
        let context = kernel_context();
        let good = executable(exit());
        let mut cases: Vec<(&str, Vec<u8>)> = alloc::vec![
            ("empty", Vec::new()),
            ("text", b"hello\n".to_vec()),
            ("script without a program", b"#!   \n".to_vec()),
            ("header alone", good[..64].to_vec()),
        ];
        for (name, at, value) in [
            ("32 bits", 4, 1),
            ("big endian", 5, 2),
            ("another machine", 18, 40),
            ("a relocatable file", 16, 1),
            ("no program headers", 56, 0),
            ("program headers of another size", 54, 32),
            ("a segment beyond user addresses", 64 + 23, 0x80),
            ("a file size over the memory size", 64 + 39, 0x10),
            ("an offset that does not fit the address", 64 + 8, 7),
            ("program headers out of the file", 39, 0x7f),
        ] {
            let mut file = good.clone();
            file[at] = value;
            cases.push((name, file));
        }
        for (name, file) in cases {
            write_file(&context, "bad", &file, 0o755)?;
            let loaded = exec::load(
                &context,
                AT_FDCWD,
                b"/suite/bad",
                AtFlags::empty(),
                Strings::default(),
                &Strings::default(),
            );
            match loaded {
                Err(error) => ensure!(error == vfs::Errno::ENOEXEC, "{name}: {error:?}"),
                Ok(_) => return Err(Failure::new(name)),
            }
        }
        Ok(())
    }
);
