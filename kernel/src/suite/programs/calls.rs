//! A program by itself: its registers, its arguments, its stack.

use super::run;
use crate::task::process::ExitStatus;
use crate::{ensure_eq, test};

program! {
    // Exit(42).
    pub(super) exit: r#"
        mov edi, 42
        mov eax, 60
        syscall
    "#
}

program! {
    // Every register but rax, rcx and r11 survives a call.
    registers: r#"
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
    "#
}

program! {
    // Seven megabytes of stack are there, and each page is zero.
    stack: r#"
        mov ecx, 1792
        mov rax, rsp
    5:  sub rax, 4096
        cmp qword ptr [rax], 0
        jne 9f
        mov [rax], rcx
        loop 5b
        xor edi, edi
        mov eax, 60
        syscall
    9:  mov edi, 1
        mov eax, 60
        syscall
    "#
}

program! {
    // Argc is 3, the second argument "two", AT_PAGESZ is 4096, the stack is aligned.
    pub(super) arguments: r#"
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
    5:  mov rax, [rbx]                  // past the environment
        add rbx, 8
        test rax, rax
        jnz 5b
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
    "#
}

test!(
    "syscalls",
    fn a_program_runs_in_ring_3_and_ends_with_its() {
        ensure_eq!(run(exit())?, ExitStatus::Code(42));
        Ok(())
    }
);

test!(
    "syscalls",
    fn a_call_keeps_every_register_but_three() {
        ensure_eq!(run(registers())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn arguments_environment_and_auxiliary_vector_are_where_the_abi_says() {
        ensure_eq!(run(arguments())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn the_stack_grows_as_it_is_used() {
        ensure_eq!(run(stack())?, ExitStatus::Code(0));
        Ok(())
    }
);
