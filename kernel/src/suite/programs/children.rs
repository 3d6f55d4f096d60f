//! What a child gets from its parent, and what processes may do to each other: `clone`'s words, `madvise` over `fork`, futexes,
//! rights to signal, `PR_SET_NO_NEW_PRIVS`.

use super::{executable, run, run_file, run_in_silence, write_file};
use crate::init::kernel_context;
use crate::suite::pointers::{call, get, map, put};
use crate::task;
use crate::task::process::ExitStatus;
use crate::{ensure, ensure_eq, test};

program! {
    // clone(CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD), the words in shared memory.
    words: r#"
        xor edi, edi
        mov esi, 4096
        mov edx, 3
        mov r10d, 0x21                  // MAP_SHARED | MAP_ANONYMOUS
        mov r8, -1
        xor r9d, r9d
        mov eax, 9
        syscall
        mov rbx, rax
        mov edi, 0x01300011
        xor esi, esi
        lea rdx, [rbx + 4]
        mov r10, rbx
        xor r8d, r8d
        mov eax, 56
        syscall
        test eax, eax
        jnz 5f
        mov eax, 39                     // getpid
        syscall
        mov edi, 1
        cmp eax, [rbx]
        jne 2f
        mov edi, 2
        cmp eax, [rbx + 4]
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    5:  mov ebp, eax
        sub rsp, 16
        mov edi, eax
        mov rsi, rsp
        xor edx, edx
        xor r10d, r10d
        mov eax, 61
        syscall
        movzx edi, byte ptr [rsp + 1]
        test edi, edi
        jnz 2f
        mov edi, 3
        cmp ebp, [rbx + 4]
        jne 2f
        mov edi, 4
        cmp dword ptr [rbx], 0          // cleared at its end
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    "#
}

program! {
    // Of three pages with a 1 the child has one as it was, one wiped, one not at all.
    forgotten: r#"
        xor edi, edi
        mov esi, 3 * 4096
        mov edx, 3
        mov r10d, 0x22
        mov r8, -1
        xor r9d, r9d
        mov eax, 9
        syscall
        mov rbx, rax
        mov byte ptr [rbx], 1
        mov byte ptr [rbx + 4096], 1
        mov byte ptr [rbx + 2 * 4096], 1
        lea rdi, [rbx + 4096]
        mov esi, 4096
        mov edx, 18                     // MADV_WIPEONFORK
        mov eax, 28
        syscall
        mov edi, 1
        test eax, eax
        jnz 2f
        lea rdi, [rbx + 2 * 4096]
        mov esi, 4096
        mov edx, 10                     // MADV_DONTFORK
        mov eax, 28
        syscall
        mov edi, 2
        test eax, eax
        jnz 2f
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
        mov edi, 3
        cmp byte ptr [rbx], 1
        jne 2f
        mov edi, 4
        cmp byte ptr [rbx + 4096], 0
        jne 2f
        lea rdi, [rbx + 2 * 4096]
        mov eax, 63                     // uname
        syscall
        mov edi, 5
        cmp eax, -14
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    5:  sub rsp, 16
        mov edi, eax
        mov rsi, rsp
        xor edx, edx
        xor r10d, r10d
        mov eax, 61
        syscall
        movzx edi, byte ptr [rsp + 1]
        test edi, edi
        jnz 2b
        mov edi, 6
        cmp byte ptr [rbx + 4096], 1
        jne 2b
        xor edi, edi
        jmp 2b
    "#
}

program! {
    // The parent sleeps at a word of shared memory until the child has changed it and woken one: itself.
    futex: r#"
        xor edi, edi
        mov esi, 4096
        mov edx, 3
        mov r10d, 0x21
        mov r8, -1
        xor r9d, r9d
        mov eax, 9
        syscall
        mov rbx, rax
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
        mov dword ptr [rbx], 1
        mov rdi, rbx
        mov esi, 1                      // FUTEX_WAKE
        mov edx, 5
        mov eax, 202
        syscall
        mov [rbx + 4], eax
        xor edi, edi
        mov eax, 60
        syscall
    5:  mov rdi, rbx
        xor esi, esi                    // FUTEX_WAIT
        xor edx, edx
        xor r10d, r10d
        mov eax, 202
        syscall
        mov edi, 1
        test eax, eax
        jnz 2f
        mov edi, 2
        cmp dword ptr [rbx], 1
        jne 2f
        mov edi, 3
        cmp dword ptr [rbx + 4], 1
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    "#
}

program! {
    // As user 1000: a child ends its sibling, asks after its parent, and may not signal the first program.
    siblings: r#"
        mov edi, 1000
        mov esi, 1000
        mov edx, 1000
        mov eax, 117                    // setresuid
        syscall
        mov eax, 57
        syscall
        test eax, eax
        jnz 5f
    4:  mov eax, 34                     // pause
        syscall
        jmp 4b
    5:  mov ebx, eax
        mov eax, 57
        syscall
        test eax, eax
        jnz 6f
        mov edi, ebx
        mov esi, 15
        mov eax, 62
        syscall
        mov edi, 1
        test eax, eax
        jnz 2f
        mov eax, 110                    // getppid
        syscall
        mov edi, eax
        xor esi, esi
        mov eax, 62
        syscall
        mov edi, 2
        test eax, eax
        jnz 2f
        mov edi, 1
        xor esi, esi
        mov eax, 62
        syscall
        mov edi, 3
        cmp eax, -1
        jne 2f
        xor edi, edi
    2:  mov eax, 60
        syscall
    6:  sub rsp, 16
        mov edi, eax
        mov rsi, rsp
        xor edx, edx
        xor r10d, r10d
        mov eax, 61
        syscall
        movzx edi, byte ptr [rsp + 1]
        test edi, edi
        jnz 2b
        mov edi, ebx
        mov rsi, rsp
        xor edx, edx
        xor r10d, r10d
        mov eax, 61
        syscall
        mov edi, 4
        cmp dword ptr [rsp], 15
        jne 2b
        xor edi, edi
        jmp 2b
    "#
}

program! {
    // Ends with 1 if it acts as root.
    who: r#"
        mov eax, 107                    // geteuid
        syscall
        xor edi, edi
        test eax, eax
        setz dil
        mov eax, 60
        syscall
    "#
}

program! {
    // As user 1000, with the argument's number for PR_SET_NO_NEW_PRIVS, becomes /suite/set-id.
    forswear: r#"
        mov rax, [rsp + 16]
        movzx ebx, byte ptr [rax]
        sub ebx, '0'
        mov edi, 1000
        mov esi, 1000
        mov edx, 1000
        mov eax, 117
        syscall
        test ebx, ebx
        jz 5f
        mov edi, 38                     // PR_SET_NO_NEW_PRIVS
        mov esi, 1
        mov eax, 157
        syscall
        mov edi, 39
        xor esi, esi
        mov eax, 157
        syscall
        mov edi, 9
        cmp eax, 1
        jne 2f
    5:  lea rdi, [rip + 8f]
        xor esi, esi
        xor edx, edx
        mov eax, 59
        syscall
        mov edi, 8
    2:  mov eax, 60
        syscall
    8:  .asciz "/suite/set-id"
    "#
}

test!(
    "syscalls",
    fn clone_tells_both_sides_the_childs_number_and_clears_it_at_the_end() {
        ensure_eq!(run(words())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn memory_that_a_child_is_not_to_have_is_wiped_or_not_there() {
        ensure_eq!(run_in_silence(forgotten())?, ExitStatus::Code(0));
        task::run_as_task(kernel_context(), || {
            // Pages of others are not wiped, and two areas that differ in this stay two.
            let shared = call(9, &[0, 4096, 3, 0x21, u64::MAX, 0]) as u64;
            ensure_eq!(call(28, &[shared, 4096, 18]), -22);
            ensure_eq!(call(28, &[map(1), 4096, 19]), 0);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_process_wakes_another_at_a_word_that_they_share() {
        ensure_eq!(run(futex())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn a_futex_is_waited_for_as_long_as_was_asked() {
        const ETIMEDOUT: i64 = -110;
        task::run_as_task(kernel_context(), || {
            let memory = map(1);
            let (word, span) = (memory, memory + 16);
            put(span + 8, &5_000_000_u64.to_le_bytes())?;
            let begin = crate::time::monotonic();
            ensure_eq!(call(202, &[word, 0, 0, span]), ETIMEDOUT);
            ensure!(crate::time::monotonic() - begin >= 5_000_000);
            // A moment, by the clock of FUTEX_WAIT_BITSET; one that has passed is over at once.
            let moment = crate::time::monotonic() + 5_000_000;
            put(span, &(moment / 1_000_000_000).to_le_bytes())?;
            put(span + 8, &(moment % 1_000_000_000).to_le_bytes())?;
            ensure_eq!(call(202, &[word, 9, 0, span, 0, 1]), ETIMEDOUT);
            ensure!(crate::time::monotonic() >= moment);
            ensure_eq!(call(202, &[word, 9, 0, span, 0, 1]), ETIMEDOUT);
            ensure_eq!(call(202, &[word, 9, 0, span, 0, 0]), -22);
            ensure_eq!(call(202, &[word, 0, 7, span]), -11);
            ensure_eq!(call(202, &[word + 1, 0, 0, span]), -22);
            ensure_eq!(call(202, &[word, 1, 1]), 0);
            ensure_eq!(get(word, 4)?, [0; 4]);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn one_may_signal_whom_ones_user_owns() {
        ensure_eq!(run(siblings())?, ExitStatus::Code(0));
        Ok(())
    }
);

test!(
    "syscalls",
    fn set_id_bits_are_nothing_to_who_forswore_new_privileges() {
        let context = kernel_context();
        write_file(&context, "set-id", &executable(who()), 0o755)?;
        task::run_as_task(kernel_context(), || {
            let path = map(1);
            put(path, b"/suite/set-id\0")?;
            ensure_eq!(call(90, &[path, 0o4755]), 0);
            Ok::<(), crate::suite::Failure>(())
        })??;
        write_file(&context, "forswear", &executable(forswear()), 0o755)?;
        ensure_eq!(run_file(&context, "forswear", &["0"])?, ExitStatus::Code(1));
        ensure_eq!(run_file(&context, "forswear", &["1"])?, ExitStatus::Code(0));
        Ok(())
    }
);
