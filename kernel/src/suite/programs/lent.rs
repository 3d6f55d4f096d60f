//! Memory that another process takes away while a call waits for it.

use super::run;
use crate::task::process::ExitStatus;
use crate::{ensure_eq, test};

program! {
    // Reads from a pipe into a page that its child cuts off the file: EFAULT.
    read: r#"
        lea rdi, [rip + 8f]
        mov esi, 0x42                   // O_RDWR | O_CREAT
        mov edx, 0x1a4
        mov eax, 2
        syscall
        mov r12d, eax
        mov edi, eax
        mov esi, 4096
        mov eax, 77                     // ftruncate
        syscall
        xor edi, edi
        mov esi, 4096
        mov edx, 3
        mov r10d, 1                     // MAP_SHARED
        mov r8d, r12d
        xor r9d, r9d
        mov eax, 9
        syscall
        mov rbx, rax
        mov byte ptr [rbx], 1
        sub rsp, 16
        mov rdi, rsp
        mov eax, 22                     // pipe
        syscall
        mov eax, 57                     // fork
        syscall
        test eax, eax
        jnz 5f
        mov edi, r12d
        xor esi, esi
        mov eax, 77
        syscall
        mov edi, [rsp + 4]
        lea rsi, [rip + 8f]
        mov edx, 1
        mov eax, 1
        syscall
        xor edi, edi
        mov eax, 60
        syscall
    5:  mov edi, [rsp]
        mov rsi, rbx
        mov edx, 1
        xor eax, eax
        syscall
        mov edi, 1
        cmp eax, -14
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    8:  .asciz "/tmp/lent"
    "#
}

program! {
    // Writes 128 KiB into a pipe out of pages that its child cuts off the file before it makes room.
    write: r#"
        lea rdi, [rip + 8f]
        mov esi, 0x42
        mov edx, 0x1a4
        mov eax, 2
        syscall
        mov r12d, eax
        mov edi, eax
        mov esi, 0x20000
        mov eax, 77
        syscall
        xor edi, edi
        mov esi, 0x20000
        mov edx, 3
        mov r10d, 1
        mov r8d, r12d
        xor r9d, r9d
        mov eax, 9
        syscall
        mov rbx, rax
        sub rsp, 16
        mov rdi, rsp
        mov eax, 22
        syscall
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
        mov edi, r12d
        xor esi, esi
        mov eax, 77
        syscall
        sub rsp, 0x10000
        mov edi, [rsp + 0x10000]
        mov rsi, rsp
        mov edx, 0x10000
        xor eax, eax
        syscall
        xor edi, edi
        mov eax, 60
        syscall
    5:  mov edi, [rsp + 4]
        mov rsi, rbx
        mov edx, 0x20000
        mov eax, 1
        syscall
        mov edi, 1
        cmp eax, 0x10000
        jl 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    8:  .asciz "/tmp/lent"
    "#
}

test!(
    "syscalls",
    fn a_page_that_is_cut_off_while_a_read_waits_for_it_is_efault() {
        ensure_eq!(run(read())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn pages_that_are_cut_off_while_a_write_waits_harm_nobody() {
        ensure_eq!(run(write())?, ExitStatus::Code(0));
        Ok(())
    }
);
