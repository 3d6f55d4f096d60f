//! Parents and children: `fork`, `vfork`, `kill`, pipes between them.

use super::calls::exit;
use super::{executable, run, write_file};
use crate::init::kernel_context;
use crate::task::process::ExitStatus;
use crate::{ensure_eq, test};

program! {
    // The child ends with 7, in memory of its own; the parent sees it.
    fork: r#"
        push 1
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
        mov qword ptr [rsp], 2
        mov edi, 7
        mov eax, 60
        syscall
    5:  mov ebx, eax
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
    "#
}

program! {
    // The child becomes /suite/exit; the parent goes on in its own memory.
    vfork: r#"
        push 1
        mov eax, 58
        syscall
        test eax, eax
        jnz 5f
        mov qword ptr [rsp], 2
        lea rdi, [rip + 8f]
        xor esi, esi
        xor edx, edx
        mov eax, 59                     // execve
        syscall
        mov edi, 9
        mov eax, 60
        syscall
    5:  mov ebx, eax
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
    "#
}

program! {
    // A child that never asks for anything is ended by its parent.
    kill: r#"
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
    4:  jmp 4b
    5:  mov ebx, eax
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
    "#
}

program! {
    // A child writes, the parent waits for it and reads.
    pipe: r#"
        sub rsp, 32
        mov rdi, rsp
        mov eax, 22
        syscall
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
        mov edi, [rsp + 4]
        lea rsi, [rip + 8f]
        mov edx, 4
        mov eax, 1
        syscall
        xor edi, edi
        mov eax, 60
        syscall
    5:  mov edi, [rsp]
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
    "#
}

test!(
    "syscalls",
    fn fork_copies_the_memory_and_wait_tells_the_end() {
        ensure_eq!(run(fork())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn vfork_lends_the_memory_until_the_child_has_its_own() {
        write_file(&kernel_context(), "exit", &executable(exit()), 0o755)?;
        ensure_eq!(run(vfork())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn a_program_that_never_asks_can_be_ended() {
        ensure_eq!(run(kill())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn a_reader_of_a_pipe_waits_for_the_writer() {
        ensure_eq!(run(pipe())?, ExitStatus::Code(0));
        Ok(())
    }
);
