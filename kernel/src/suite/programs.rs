//! Programs in ring 3: small ones in machine code, put into a file, started as any program is, and judged by how they end.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::arch::global_asm;

use vfs::{AT_FDCWD, AtFlags, Context, OpenFlags, OpenHow};

use super::TestResult;
use crate::exec::{self, Strings};
use crate::init::{kernel_context, namespace};
use crate::task::process::{self, ExitStatus};
use crate::task::{self, Process};
use crate::{ensure, ensure_eq, test};

global_asm!(
    r#"
    .pushsection .rodata.suite_programs, "a", @progbits

    program_exit:                       // exit(42)
        mov edi, 42
        mov eax, 60
        syscall
    program_exit_end:

    program_registers:                  // every register but rax, rcx and r11 survives a call
        mov rbx, 0x1111111111111111
        mov rbp, 0x2222222222222222
        mov r12, 0x3333333333333333
        mov r13, 0x4444444444444444
        mov r14, 0x5555555555555555
        mov r15, 0x6666666666666666
        mov rdx, 0x7777777777777777
        mov r8, 0x8888888888888888
        mov r9, 0x9999999999999999
        mov r10, 0xaaaaaaaaaaaaaaaa
        mov rsi, 0xbbbbbbbbbbbbbbbb
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        mov eax, \n + 1
        movq xmm\n, rax
        pshufd xmm\n, xmm\n, 0
        .endr
        sub rsp, 8
        mov dword ptr [rsp], 0x5f80     // round towards zero, flush to zero off
        ldmxcsr [rsp]
        mov r11, rsp
        push r11
        mov rdi, 0xcccccccccccccccc
        mov eax, 39                     // getpid
        syscall
        mov ecx, 9999                   // a call that is not there
        mov eax, 500
        syscall
        cmp rax, -38
        jne 9f
        pop rax
        cmp rax, rsp
        jne 9f
        mov rax, 0xcccccccccccccccc
        cmp rdi, rax
        jne 9f
        mov rax, 0x1111111111111111
        cmp rbx, rax
        jne 9f
        mov rax, 0x2222222222222222
        cmp rbp, rax
        jne 9f
        mov rax, 0x6666666666666666
        cmp r15, rax
        jne 9f
        mov rax, 0x7777777777777777
        cmp rdx, rax
        jne 9f
        mov rax, 0xaaaaaaaaaaaaaaaa
        cmp r10, rax
        jne 9f
        mov rax, 0xbbbbbbbbbbbbbbbb
        cmp rsi, rax
        jne 9f
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        movq rax, xmm\n
        mov rcx, 0x100000001 * (\n + 1)
        cmp rax, rcx
        jne 9f
        psrldq xmm\n, 8
        movq rax, xmm\n
        cmp rax, rcx
        jne 9f
        .endr
        stmxcsr [rsp]
        cmp dword ptr [rsp], 0x5f80
        jne 9f
        xor edi, edi
        mov eax, 231
        syscall
    9:  mov edi, 1
        mov eax, 231
        syscall
    program_registers_end:

    program_fork:                       // the child ends with 7, in memory of its own; the parent sees it
        push 1
        mov eax, 57
        syscall
        test eax, eax
        jnz 1f
        mov qword ptr [rsp], 2
        mov edi, 7
        mov eax, 60
        syscall
    1:  mov ebx, eax
        mov edi, -1
        sub rsp, 16
        mov rsi, rsp
        xor edx, edx
        xor r10d, r10d
        mov eax, 61                     // wait4
        syscall
        mov edi, 1
        cmp eax, ebx
        jne 2f
        mov edi, 2
        cmp dword ptr [rsp], 0x700
        jne 2f
        mov edi, 3
        cmp qword ptr [rsp + 16], 1
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    program_fork_end:

    program_vfork:                      // the child becomes /suite/exit; the parent goes on in its own memory
        push 1
        mov eax, 58
        syscall
        test eax, eax
        jnz 1f
        mov qword ptr [rsp], 2
        lea rdi, [rip + 8f]
        xor esi, esi
        xor edx, edx
        mov eax, 59                     // execve
        syscall
        mov edi, 9
        mov eax, 60
        syscall
    1:  mov ebx, eax
        mov edi, eax
        sub rsp, 16
        mov rsi, rsp
        xor edx, edx
        xor r10d, r10d
        mov eax, 61
        syscall
        mov edi, 1
        cmp eax, ebx
        jne 2f
        mov edi, 2
        cmp dword ptr [rsp], 42 << 8
        jne 2f
        mov edi, 3
        cmp qword ptr [rsp + 16], 2     // the child wrote into the parent's memory
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    8:  .asciz "/suite/exit"
    program_vfork_end:

    program_kill:                       // a child that never asks for anything is ended by its parent
        mov eax, 57
        syscall
        test eax, eax
        jnz 1f
    0:  jmp 0b
    1:  mov ebx, eax
        mov eax, 24                     // sched_yield: let it run
        syscall
        mov edi, ebx
        mov esi, 15
        mov eax, 62
        syscall
        mov edi, ebx
        sub rsp, 16
        mov rsi, rsp
        xor edx, edx
        xor r10d, r10d
        mov eax, 61
        syscall
        mov edi, 1
        cmp eax, ebx
        jne 2f
        mov edi, 2
        cmp dword ptr [rsp], 15
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    program_kill_end:

    program_pipe:                       // a child writes, the parent waits for it and reads
        sub rsp, 32
        mov rdi, rsp
        mov eax, 22
        syscall
        mov eax, 57
        syscall
        test eax, eax
        jnz 1f
        mov edi, [rsp + 4]
        lea rsi, [rip + 8f]
        mov edx, 4
        mov eax, 1
        syscall
        xor edi, edi
        mov eax, 60
        syscall
    1:  mov edi, [rsp]
        lea rsi, [rsp + 8]
        mov edx, 8
        xor eax, eax
        syscall
        mov edi, 1
        cmp eax, 4
        jne 2f
        mov edi, 2
        cmp dword ptr [rsp + 8], 0x65706970
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    8:  .ascii "pipe"
    program_pipe_end:

    program_null:                       // writes to address 16
        mov qword ptr [16], 1
    program_null_end:

    program_kernel:                     // reads the kernel's memory
        mov rax, 0xffffffff80200000
        mov rax, [rax]
    program_kernel_end:

    program_code:                       // writes to its own code
        mov byte ptr [rip + program_code], 0
    program_code_end:

    program_data:                       // executes its stack
        mov byte ptr [rsp - 64], 0xc3
        lea rax, [rsp - 64]
        call rax
    program_data_end:

    program_divide:
        xor ecx, ecx
        mov eax, 1
        cdq
        idiv ecx
    program_divide_end:

    program_unknown:
        ud2
    program_unknown_end:

    program_privileged:
        hlt
    program_privileged_end:

    program_stack:                      // seven megabytes of stack are there, and each page is zero
        mov ecx, 1792
        mov rax, rsp
    1:  sub rax, 4096
        cmp qword ptr [rax], 0
        jne 9f
        mov [rax], rcx
        loop 1b
        xor edi, edi
        mov eax, 60
        syscall
    9:  mov edi, 1
        mov eax, 60
        syscall
    program_stack_end:

    program_overflow:                   // there is an end to the stack
    1:  push rax
        jmp 1b
    program_overflow_end:

    program_wild:                       // jumps to an address that is not canonical
        mov rax, 0x8000000000000000
        jmp rax
    program_wild_end:

    program_arguments:                  // argc is 3, the second argument "two", AT_PAGESZ is 4096, the stack is aligned
        mov edi, 1
        test rsp, 15
        jnz 9f
        mov edi, 2
        cmp qword ptr [rsp], 3
        jne 9f
        mov edi, 3
        mov rax, [rsp + 16]
        cmp dword ptr [rax], 0x006f7774
        jne 9f
        lea rbx, [rsp + 40]             // past argc, three arguments and a null
    1:  mov rax, [rbx]                  // past the environment
        add rbx, 8
        test rax, rax
        jnz 1b
        mov edi, 4
    2:  mov rax, [rbx]
        test rax, rax
        jz 9f
        add rbx, 16
        cmp rax, 6
        jne 2b
        mov edi, 5
        cmp qword ptr [rbx - 8], 4096
        jne 9f
        xor edi, edi
    9:  mov eax, 60
        syscall
    program_arguments_end:

    program_abort:                      // kill(getpid(), SIGABRT)
        mov eax, 39
        syscall
        mov edi, eax
        mov esi, 6
        mov eax, 62
        syscall
        xor edi, edi
        mov eax, 60
        syscall
    program_abort_end:
    .popsection
    "#
);

macro_rules! program {
    ($name:ident, $start:ident, $end:ident) => {
        fn $name() -> &'static [u8] {
            unsafe extern "C" {
                static $start: u8;
                static $end: u8;
            }
            let start = &raw const $start;
            let length = &raw const $end as usize - start as usize;
            // SAFETY: both labels are in the same section above, the second after the first.
            unsafe { core::slice::from_raw_parts(start, length) }
        }
    };
}

program!(exit_code, program_exit, program_exit_end);
program!(registers_code, program_registers, program_registers_end);
program!(fork_code, program_fork, program_fork_end);
program!(vfork_code, program_vfork, program_vfork_end);
program!(kill_code, program_kill, program_kill_end);
program!(pipe_code, program_pipe, program_pipe_end);
program!(null_code, program_null, program_null_end);
program!(kernel_code, program_kernel, program_kernel_end);
program!(code_code, program_code, program_code_end);
program!(data_code, program_data, program_data_end);
program!(divide_code, program_divide, program_divide_end);
program!(unknown_code, program_unknown, program_unknown_end);
program!(privileged_code, program_privileged, program_privileged_end);
program!(stack_code, program_stack, program_stack_end);
program!(overflow_code, program_overflow, program_overflow_end);
program!(wild_code, program_wild, program_wild_end);
program!(arguments_code, program_arguments, program_arguments_end);
program!(abort_code, program_abort, program_abort_end);

/// Where programs without a place of their own are loaded.
const BASE: u64 = 0x40_0000;

/// An executable of one segment with this code.
pub(super) fn executable(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::new();
    let put = |file: &mut Vec<u8>, words: &[(u64, usize)]| {
        for (value, bytes) in words {
            file.extend(&value.to_le_bytes()[..*bytes]);
        }
    };
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let header = [(2, 2), (62, 2), (1, 4), (BASE + HEADERS, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (1, 2)];
    put(&mut file, &header);
    put(&mut file, &[(0, 2), (0, 2), (0, 2)]);
    put(&mut file, &[(1, 4), (5, 4), (0, 8), (BASE, 8), (BASE, 8), (size, 8), (size, 8), (4096, 8)]);
    file.extend(code);
    file
}

/// Makes a file of the suite's own directory.
pub(super) fn write_file(context: &Context, name: &str, content: &[u8], mode: u32) -> TestResult {
    match namespace().mkdirat(context, AT_FDCWD, b"/suite", 0o755) {
        Err(error) if error != vfs::Errno::EEXIST => return Err(error.into()),
        _ => {}
    }
    let path = alloc::format!("/suite/{name}");
    let flags = OpenFlags::O_WRONLY | OpenFlags::O_CREAT | OpenFlags::O_TRUNC;
    let file = namespace().open(context, AT_FDCWD, path.as_bytes(), &OpenHow::from_open(flags, mode))?;
    ensure_eq!(file.write(context, vfs::At::Position, content)?, content.len());
    Ok(())
}

/// Starts a file of the suite's directory and returns how it ended.
fn run_file(context: &Context, name: &str, arguments: &[&str]) -> Result<ExitStatus, super::Failure> {
    let path = alloc::format!("/suite/{name}");
    let mut strings = Strings::default();
    for argument in core::iter::once(&path.as_str()).chain(arguments) {
        strings.push(argument.as_bytes())?;
    }
    let mut environment = Strings::default();
    environment.push(b"A=B")?;
    let image = exec::load(context, AT_FDCWD, path.as_bytes(), AtFlags::empty(), strings, &environment)?;
    let process: Arc<Process> = task::spawn_program(context.clone(), image)?;
    task::wait_until(&|| process.ended().is_some())?;
    process::reap(&process);
    process.ended().ok_or_else(|| super::Failure::new("it did not end"))
}

/// Puts code into a file and runs it.
fn run(code: &[u8]) -> Result<ExitStatus, super::Failure> {
    let context = kernel_context();
    write_file(&context, "program", &executable(code), 0o755)?;
    run_file(&context, "program", &["two", "three"])
}

/// As [`run`], with programs' reports kept off the console: they are expected.
fn run_in_silence(code: &[u8]) -> Result<ExitStatus, super::Failure> {
    let level = log::max_level();
    log::set_max_level(log::LevelFilter::Off);
    let ended = run(code);
    log::set_max_level(level);
    ended
}

test!(
    "syscalls",
    fn a_program_runs_in_ring_3_and_ends_with_its_code() {
        ensure_eq!(run(exit_code())?, ExitStatus::Code(42));
        Ok(())
    }
);

test!(
    "syscalls",
    fn a_call_keeps_every_register_but_three() {
        ensure_eq!(run(registers_code())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn arguments_environment_and_auxiliary_vector_are_where_the_abi_says() {
        ensure_eq!(run(arguments_code())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn fork_copies_the_memory_and_wait_tells_the_end() {
        ensure_eq!(run(fork_code())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn vfork_lends_the_memory_until_the_child_has_its_own() {
        write_file(&kernel_context(), "exit", &executable(exit_code()), 0o755)?;
        ensure_eq!(run(vfork_code())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn a_program_that_never_asks_can_be_ended() {
        ensure_eq!(run(kill_code())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn a_reader_of_a_pipe_waits_for_the_writer() {
        ensure_eq!(run(pipe_code())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn what_a_program_may_not_do_ends_it_by_the_right_signal() {
        for (name, code, signal) in [
            ("a null pointer", null_code(), 11),
            ("the kernel's memory", kernel_code(), 11),
            ("its own code", code_code(), 11),
            ("its data as code", data_code(), 11),
            ("an address that is not canonical", wild_code(), 11),
            ("a division by zero", divide_code(), 8),
            ("an unknown instruction", unknown_code(), 4),
            ("a privileged instruction", privileged_code(), 11),
            ("an overflow of the stack", overflow_code(), 11),
            ("abort", abort_code(), 6),
        ] {
            let ended = run_in_silence(code)?;
            ensure!(ended == ExitStatus::Signal(signal), "{name}: {ended}");
        }
        Ok(())
    }
);

test!(
    "syscalls",
    fn the_stack_grows_as_it_is_used() {
        ensure_eq!(run(stack_code())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn a_script_runs_by_its_interpreter() {
        let context = kernel_context();
        write_file(&context, "program", &executable(arguments_code()), 0o755)?;
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
        let good = executable(exit_code());
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
                Ok(_) => return Err(super::Failure::new(name)),
            }
        }
        Ok(())
    }
);
