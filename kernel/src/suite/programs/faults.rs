//! What a program may not do, and the signal that ends it.

use super::run_in_silence;
use crate::task::process::ExitStatus;
use crate::{ensure, test};

program! {
    // Writes to address 16.
    null: r#"
        mov qword ptr [16], 1
    "#
}

program! {
    // Reads the kernel's memory.
    kernel: r#"
        mov rax, 0xffffffff80200000
        mov rax, [rax]
    "#
}

program! {
    // Writes to its own code.
    code: r#"
    4:  mov byte ptr [rip + 4b], 0
    "#
}

program! {
    // Executes its stack.
    data: r#"
        mov byte ptr [rsp - 64], 0xc3
        lea rax, [rsp - 64]
        call rax
    "#
}

program! {
    divide: r#"
        xor ecx, ecx
        mov eax, 1
        cdq
        idiv ecx
    "#
}

program! {
    unknown: r#"
        ud2
    "#
}

program! {
    privileged: r#"
        hlt
    "#
}

program! {
    // There is an end to the stack.
    overflow: r#"
    5:  push rax
        jmp 5b
    "#
}

program! {
    // Jumps to an address that is not canonical.
    wild: r#"
        mov rax, 0x8000000000000000
        jmp rax
    "#
}

program! {
    // Kill(getpid(), SIGABRT).
    abort: r#"
        mov eax, 39
        syscall
        mov edi, eax
        mov esi, 6
        mov eax, 62
        syscall
        xor edi, edi
        mov eax, 60
        syscall
    "#
}

test!(
    "syscalls",
    fn what_a_program_may_not_do_ends_it_by_the_right_signal() {
        for (name, code, signal) in [
            ("a null pointer", null(), 11),
            ("the kernel's memory", kernel(), 11),
            ("its own code", code(), 11),
            ("its data as code", data(), 11),
            ("an address that is not canonical", wild(), 11),
            ("a division by zero", divide(), 8),
            ("an unknown instruction", unknown(), 4),
            ("a privileged instruction", privileged(), 11),
            ("an overflow of the stack", overflow(), 11),
            ("abort", abort(), 6),
        ] {
            let ended = run_in_silence(code)?;
            ensure!(ended == ExitStatus::Signal(signal), "{name}: {ended}");
        }
        Ok(())
    }
);
