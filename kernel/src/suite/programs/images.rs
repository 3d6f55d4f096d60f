//! What can be started: scripts by their interpreters, and what is refused.

use alloc::vec::Vec;

use vfs::{AT_FDCWD, AtFlags};

use super::calls::{arguments, exit};
use super::{executable, headers, run, run_file, write_file};
use crate::exec::{self, Strings};
use crate::init::kernel_context;
use crate::suite::Failure;
use crate::task::process::ExitStatus;
use crate::{ensure, ensure_eq, test};

program! {
    // Ends with AT_SECURE.
    secure: r#"
        mov rbx, [rsp]
        lea rbx, [rsp + 8 * rbx + 16]   // past argc, the arguments and a null
    5:  mov rax, [rbx]                  // past the environment
        add rbx, 8
        test rax, rax
        jnz 5b
        mov edi, 99
    2:  mov rax, [rbx]
        test rax, rax
        jz 3f
        add rbx, 16
        cmp rax, 23
        jne 2b
        mov edi, [rbx - 8]
    3:  mov eax, 60
        syscall
    "#
}

program! {
    // Becomes /suite/secure with real id 1000 and effective id 0.
    half_root: r#"
        mov edi, 1000
        xor esi, esi
        xor edx, edx
        mov eax, 117                    // setresuid
        syscall
        lea rdi, [rip + 8f]
        xor esi, esi
        xor edx, edx
        mov eax, 59
        syscall
        mov edi, 98
        mov eax, 60
        syscall
    8:  .asciz "/suite/secure"
    "#
}

program! {
    // The page at 0x401000 has what the file has, and can be written: it is the last segment's.
    shared_page: r#"
        mov edi, 1
        cmp dword ptr [0x401000], 0x74736966
        jne 2f
        mov edi, 2
        cmp dword ptr [0x401200], 0x7473616c
        jne 2f
        mov edi, 3
        cmp dword ptr [0x401204], 0     // not the file's, which has an x there
        jne 2f
        mov dword ptr [0x401200], 1
        xor edi, edi
    2:  mov eax, 60
        syscall
    "#
}

program! {
    // Becomes ./self of /suite.
    from_here: r#"
        lea rdi, [rip + 8f]
        mov eax, 80                     // chdir
        syscall
        lea rdi, [rip + 7f]
        xor esi, esi
        xor edx, edx
        mov eax, 59
        syscall
        mov edi, 98
        mov eax, 60
        syscall
    8:  .asciz "/suite"
    7:  .asciz "./self"
    "#
}

program! {
    // Its /proc/self/exe is /suite/self.
    itself: r#"
        sub rsp, 64
        lea rdi, [rip + 8f]
        mov rsi, rsp
        mov edx, 64
        mov eax, 89                     // readlink
        syscall
        mov edi, 1
        cmp eax, 11
        jne 2f
        mov edi, 2
        mov rax, [rsp]
        cmp rax, [rip + 7f]
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    8:  .asciz "/proc/self/exe"
    7:  .ascii "/suite/s"
    "#
}

test!(
    "syscalls",
    fn a_program_finds_itself_however_it_was_named() {
        write_file(&kernel_context(), "self", &executable(itself()), 0o755)?;
        ensure_eq!(run(from_here())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn what_a_set_id_program_starts_is_told_so() {
        let context = kernel_context();
        write_file(&context, "secure", &executable(secure()), 0o755)?;
        ensure_eq!(run_file(&context, "secure", &[])?, ExitStatus::Code(0));
        ensure_eq!(run(half_root())?, ExitStatus::Code(1));
        Ok(())
    }
);

test!(
    "syscalls",
    fn of_segments_that_share_a_page_the_later_one_has_it() {
        let code = shared_page();
        let text = 64 + 3 * 56;
        let mut file = headers(
            2,
            0x40_0000 + text,
            &[
                (1, 5, 0, 0x40_0000, 0x1000, 0x1000),
                (1, 4, 0x1000, 0x40_1000, 0x100, 0x100),
                (1, 6, 0x1200, 0x40_1200, 4, 0x100),
            ],
        );
        file.extend(code);
        file.resize(0x1000, 0);
        file.extend(b"fist");
        file.resize(0x1200, b'-');
        file.extend(b"lastx");
        file.resize(0x2000, b'x');
        let context = kernel_context();
        write_file(&context, "pages", &file, 0o755)?;
        ensure_eq!(run_file(&context, "pages", &[])?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn an_interpreter_that_fills_the_address_space_is_refused() {
        let context = kernel_context();
        let last = boot::layout::USER_END - 0x2000;
        let spread = headers(3, 0, &[(1, 5, 0, 0, 0x100, 0x1000), (1, 5, 0, last, 0x100, 0x1000)]);
        write_file(&context, "spread", &spread, 0o755)?;
        let path = b"/suite/spread\0";
        let mut program = headers(2, 0x40_0000, &[(3, 4, 176, 0, 14, 14), (1, 5, 0, 0x40_0000, 190, 190)]);
        program.extend(path);
        write_file(&context, "bad", &program, 0o755)?;
        let empty = Strings::default();
        match exec::load(&context, AT_FDCWD, b"/suite/bad", AtFlags::empty(), Strings::default(), &empty) {
            Err(error) => ensure_eq!(error.errno(), vfs::Errno::ENOEXEC),
            Ok(_) => return Err(Failure::new("it was loaded")),
        }
        Ok(())
    }
);

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
