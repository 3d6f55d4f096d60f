//! Signals to programs that handle them. Every program ends with 0 when all went well.

use super::{run, run_in_silence};
use crate::task::process::ExitStatus;
use crate::{ensure_eq, test};

/// `rt_sigaction`: has `$handler` (a local label) handle `$signal`. Uses the stack, and `restorer!` at label 9.
macro_rules! handle {
    ($signal:literal, $flags:literal, $handler:literal) => {
        concat!(
            "
        push 0                          // mask
        lea rax, [rip + 9f]
        push rax                        // restorer
        push 0x4000000 | ",
            $flags,
            "
        lea rax, [rip + ",
            $handler,
            "]
        push rax
        mov edi, ",
            $signal,
            "
        mov rsi, rsp
        xor edx, edx
        mov r10d, 8
        mov eax, 13
        syscall
        add rsp, 32
            "
        )
    };
}

/// `kill(PID, SIGNAL)`; without a number, to the program itself.
macro_rules! send {
    ($signal:literal) => {
        concat!(
            "
        mov eax, 39                     // getpid
        syscall
        mov edi, eax
        mov esi, ",
            $signal,
            "
        mov eax, 62
        syscall
            "
        )
    };
}

/// Where handlers return to, and the program's end: with edi.
macro_rules! restorer {
    () => {
        "
    8:  mov eax, 231
        syscall
    9:  mov eax, 15                     // rt_sigreturn
        syscall
        "
    };
}

/// Waits for a child's end: its program is in use until then.
macro_rules! reap {
    () => {
        "
    4:  mov edi, -1
        xor esi, esi
        xor edx, edx
        xor r10d, r10d
        mov eax, 61                     // wait4
        syscall
        cmp eax, -4                     // a signal came first
        je 4b
        "
    };
}

/// Ends with `$code` unless the last comparison was one of equals.
macro_rules! or_end {
    ($code:literal) => {
        concat!(
            "
        mov edi, ",
            $code,
            "
        jne 8f
            "
        )
    };
}

program! {
    // A handler that uses every register; nobody notices.
    handled:
        "
        push 0
        mov r15, rsp
        ", handle!("10", "4", "2f"), "
        mov rbx, 0x1111111111111111
        mov r12, 0x3333333333333333
        mov r9, 0x9999999999999999
        mov eax, 77
        movq xmm5, rax
        ", send!("10"), "
        test eax, eax
        ", or_end!("1"), "
        cmp dword ptr [r15], 10
        ", or_end!("2"), "
        mov rax, 0x1111111111111111
        cmp rbx, rax
        ", or_end!("3"), "
        mov rax, 0x3333333333333333
        cmp r12, rax
        ", or_end!("4"), "
        mov rax, 0x9999999999999999
        cmp r9, rax
        ", or_end!("5"), "
        movq rax, xmm5
        cmp rax, 77
        ", or_end!("6"), "
        lea rax, [r15]
        cmp rax, rsp
        ", or_end!("7"), "
        xor edi, edi
        jmp 8f
    2:  mov [r15], edi                  // number, siginfo_t, ucontext_t
        cmp edi, [rsi]
        mov edi, 20
        jne 8f
        cmp qword ptr [rdx + 40 + 56], r15  // the context's r15
        mov edi, 21
        jne 8f
        mov rax, rsp                    // as after a call
        and eax, 15
        cmp eax, 8
        mov edi, 22
        jne 8f
        xor ebx, ebx
        xor r9d, r9d
        xor r12d, r12d
        xor r15d, r15d
        pxor xmm5, xmm5
        ret
        ", restorer!()
}

program! {
    // What is blocked waits, and is told as pending.
    blocked:
        "
        push 0
        mov r15, rsp
        ", handle!("10", "0", "2f"), "
        push 0x200
        xor edi, edi                    // SIG_BLOCK
        mov rsi, rsp
        xor edx, edx
        mov r10d, 8
        mov eax, 14
        syscall
        ", send!("10"), "
        cmp dword ptr [r15], 0
        ", or_end!("1"), "
        push 0
        mov rdi, rsp
        mov esi, 8
        mov eax, 127                    // rt_sigpending
        syscall
        pop rax
        cmp rax, 0x200
        ", or_end!("2"), "
        mov edi, 1                      // SIG_UNBLOCK
        mov rsi, rsp
        xor edx, edx
        mov r10d, 8
        mov eax, 14
        syscall
        cmp dword ptr [r15], 1
        ", or_end!("3"), "
        xor edi, edi
        jmp 8f
    2:  inc dword ptr [r15]
        ret
        ", restorer!()
}

/// A reader of a pipe gets a signal from its child, then two bytes.
macro_rules! interrupted_reader {
    ($name:ident, $flags:literal, $check:literal) => {
        program! {
            $name:
                "
        push 0
        mov r15, rsp
        sub rsp, 32
        ", handle!("10", $flags, "2f"), "
        mov eax, 39
        syscall
        mov r14d, eax
        mov rdi, rsp
        mov eax, 22                     // pipe
        syscall
        mov eax, 57                     // fork
        syscall
        test eax, eax
        jnz 5f
        mov eax, 24                     // sched_yield: the parent waits by then
        syscall
        mov edi, r14d
        mov esi, 10
        mov eax, 62
        syscall
        mov eax, 24
        syscall
        mov edi, [rsp + 4]
        mov rsi, rsp
        mov edx, 2
        mov eax, 1
        syscall
        xor edi, edi
        jmp 8f
    5:  mov edi, [rsp]
        lea rsi, [rsp + 8]
        mov edx, 8
        xor eax, eax
        syscall
        ", $check, "
        ", or_end!("1"), "
        cmp dword ptr [r15], 1
        ", or_end!("2"), "
        ", reap!(), "
        xor edi, edi
        jmp 8f
    2:  inc dword ptr [r15]
        ret
        ", restorer!()
        }
    };
}

interrupted_reader!(restarted, "0x10000000", "cmp eax, 2");
interrupted_reader!(interrupted, "0", "cmp eax, -4");

program! {
    // The stack overflows; its handler has a stack of its own, and is told the address.
    own_stack:
        "
        mov r14, rsp
        sub rsp, 8192
        mov r15, rsp
        push 8192                       // size
        push 0
        push r15
        mov rdi, rsp
        xor esi, esi
        mov eax, 131                    // sigaltstack
        syscall
        ", handle!("11", "0x8000004", "2f"), "
    4:  push rax
        jmp 4b
    2:  cmp edi, 11
        ", or_end!("1"), "
        mov rax, [rsi + 16]             // si_addr: where the program's stack pointer was about to be
        mov rcx, [rdx + 40 + 120]
        sub rcx, 8
        cmp rax, rcx
        ", or_end!("2"), "
        cmp dword ptr [rsi + 8], 3      // si_code: SEGV_MAPERR or SEGV_ACCERR
        mov edi, 3
        jae 8f
        mov edi, 4
        cmp rsp, r15
        jb 8f
        cmp rsp, r14
        ja 8f
        sub rsp, 24
        xor edi, edi
        mov rsi, rsp
        mov eax, 131
        syscall
        cmp dword ptr [rsp + 8], 1      // SS_ONSTACK
        ", or_end!("5"), "
        xor edi, edi
        ", restorer!()
}

program! {
    // An alarm finds a program that never asks, again and again.
    alarm:
        "
        push 0
        mov r15, rsp
        ", handle!("14", "0", "2f"), "
        push 2000                       // 2 ms, then every 1 ms
        push 0
        push 1000
        push 0
        xor edi, edi
        mov rsi, rsp
        xor edx, edx
        mov eax, 38                     // setitimer
        syscall
    4:  cmp dword ptr [r15], 3
        jb 4b
        xor edi, edi
        jmp 8f
    2:  inc dword ptr [r15]
        ret
        ", restorer!()
}

program! {
    // A signal does not wake a parent whose memory its child uses.
    lender:
        "
        push 0
        mov r15, rsp
        push 0
        mov r14, rsp
        ", handle!("14", "0", "2f"), "
        push 2000
        push 0
        push 0
        push 0
        xor edi, edi
        mov rsi, rsp
        xor edx, edx
        mov eax, 38
        syscall
        mov eax, 58                     // vfork
        syscall
        test eax, eax
        jnz 5f
        push 10000000                   // 10 ms
        push 0
        mov rdi, rsp
        xor esi, esi
        mov eax, 35                     // nanosleep
        syscall
        mov dword ptr [r14], 1
        xor edi, edi
        mov eax, 60
        syscall
    5:  cmp dword ptr [r14], 1
        ", or_end!("1"), "
        cmp dword ptr [r15], 1
        ", or_end!("2"), "
        xor edi, edi
        jmp 8f
    2:  inc dword ptr [r15]
        ret
        ", restorer!()
}

program! {
    // sigsuspend lets in what is blocked outside of it.
    suspended:
        "
        push 0
        mov r15, rsp
        ", handle!("10", "0", "2f"), "
        mov eax, 39
        syscall
        mov r14d, eax
        push 0x200
        xor edi, edi
        mov rsi, rsp
        xor edx, edx
        mov r10d, 8
        mov eax, 14
        syscall
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
        mov edi, r14d
        mov esi, 10
        mov eax, 62
        syscall
        xor edi, edi
        jmp 8f
    5:  push 0
        mov rdi, rsp
        mov esi, 8
        mov eax, 130                    // rt_sigsuspend
        syscall
        cmp eax, -4
        ", or_end!("1"), "
        cmp dword ptr [r15], 1
        ", or_end!("2"), "
        xor edi, edi
        xor esi, esi
        mov rdx, rsp
        mov r10d, 8
        mov eax, 14
        syscall
        cmp qword ptr [rsp], 0x200      // blocked again
        ", or_end!("3"), "
        ", reap!(), "
        xor edi, edi
        jmp 8f
    2:  inc dword ptr [r15]
        ret
        ", restorer!()
}

program! {
    // A child's end is told with its number and status.
    told:
        "
        push 0
        mov r15, rsp
        ", handle!("17", "4", "2f"), "
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
        mov edi, 33
        mov eax, 60
        syscall
    5:  mov ebx, eax
    4:  mov eax, 24
        syscall
        cmp dword ptr [r15], 0
        je 4b
        ", reap!(), "
        xor edi, edi
        jmp 8f
    2:  cmp dword ptr [rsi + 8], 1      // CLD_EXITED
        ", or_end!("1"), "
        cmp dword ptr [rsi + 16], ebx
        ", or_end!("2"), "
        cmp dword ptr [rsi + 24], 33
        ", or_end!("3"), "
        inc dword ptr [r15]
        ret
        ", restorer!()
}

program! {
    // A handler that has the program go on behind what it cannot do.
    skipped:
        handle!("4", "4", "2f"), "
        mov ebx, 5
        ud2
        cmp ebx, 5
        ", or_end!("1"), "
        xor edi, edi
        jmp 8f
    2:  add qword ptr [rdx + 40 + 128], 2
        ret
        ", restorer!()
}

program! {
    // A made-up record: rights of the kernel's, control bits that do not exist. None arrives.
    forged:
        "
        sub rsp, 1024
        mov rdi, rsp
        mov ecx, 64
        xor eax, eax
        rep stosq
        mov rax, -1
        mov ecx, 64
        rep stosq                       // vector state: all ones
        lea rax, [rsp + 512]
        mov [rsp + 40 + 184], rax
        lea rax, [rip + 5f]
        mov [rsp + 40 + 128], rax
        mov [rsp + 40 + 120], rsp
        mov qword ptr [rsp + 40 + 136], 0x37000 | 0x4000 // privilege 3, virtual 8086 mode, nested task
        mov dword ptr [rsp + 40 + 144], 0x00080008       // the kernel's segments
        mov eax, 15
        syscall
    5:  pushfq
        pop rax
        test eax, 0x37000 | 0x4000
        mov edi, 1
        jnz 8f
        mov eax, cs
        cmp eax, 0x23
        ", or_end!("2"), "
        xor edi, edi
        ", restorer!()
}

program! {
    // A record that goes on in the kernel's memory.
    escaping:
        "
        sub rsp, 512
        mov rdi, rsp
        mov ecx, 64
        xor eax, eax
        rep stosq
        mov rax, 0xffffffff80200000
        mov [rsp + 40 + 128], rax
        mov eax, 15
        syscall
        "
}

program! {
    // A record where nothing is mapped.
    lost:
        "
        mov esp, 16
        mov eax, 15
        syscall
        "
}

program! {
    // No room for the handler's record.
    cramped:
        handle!("10", "0", "2f"), "
        mov eax, 39
        syscall
        mov edi, eax
        mov esi, 10
        mov esp, 64
        mov eax, 62
        syscall
        xor edi, edi
        jmp 8f
    2:  ret
        ", restorer!()
}

macro_rules! succeeds {
    ($name:ident, $program:ident) => {
        test!(
            "syscalls",
            fn $name() {
                ensure_eq!(run($program())?, ExitStatus::Code(0));
                Ok(())
            }
        );
    };
}

succeeds!(a_handler_runs_and_nobody_notices, handled);
succeeds!(a_blocked_signal_waits, blocked);
succeeds!(a_call_begins_again_after_a_handler_that_asked_for_it, restarted);
succeeds!(a_call_is_interrupted_by_a_handler_that_did_not, interrupted);
succeeds!(a_handler_of_an_overflow_has_a_stack_of_its_own, own_stack);
succeeds!(an_alarm_goes_off_while_a_program_computes, alarm);
succeeds!(a_signal_does_not_wake_a_parent_in_vfork, lender);
succeeds!(sigsuspend_waits_with_another_mask, suspended);
succeeds!(a_childs_end_is_told_with_its_status, told);
succeeds!(a_handler_can_change_where_its_program_goes_on, skipped);
succeeds!(a_forged_record_gives_no_rights, forged);

test!(
    "syscalls",
    fn a_signal_without_a_sound_record_or_stack_ends_the_program() {
        for code in [escaping(), lost(), cramped()] {
            ensure_eq!(run_in_silence(code)?, ExitStatus::Signal(11));
        }
        Ok(())
    }
);
