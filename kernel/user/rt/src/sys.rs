//! System calls that `rustix` lacks, or has only behind more than a program without a C library can offer.
//!
//! - [`now`]: `rustix` finds the clock through the vDSO and the auxiliary vector, and asks `/proc` for it.
//! - [`spawn`]: a child that shares memory until it calls `execve` cannot be written in Rust, only in assembly.

use core::arch::{asm, naked_asm};
use core::ffi::{CStr, c_char};

use rustix::io::Errno;

const CLOCK_SETTIME: usize = 227;
const CLOCK_GETTIME: usize = 228;
const EXECVE: usize = 59;
const EXIT_GROUP: usize = 231;

/// A system call with up to three arguments, its answer as the kernel gave it.
///
/// # Safety
/// The caller answers for what the call does with the arguments.
unsafe fn call(number: usize, arguments: [usize; 3]) -> isize {
    let answer;
    // SAFETY: the instruction itself changes rax, rcx and r11 alone; its effect is the caller's matter.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

fn fault(answer: isize) -> Errno {
    Errno::from_raw_os_error(i32::try_from(-answer).unwrap_or(0))
}

/// Which clock [`now`] reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// The wall clock, since 1970 (UTC).
    Real = 0,
    /// The clock that never goes back, since some time at or before boot.
    Monotonic = 1,
}

/// The time of `clock` in seconds and nanoseconds; zero when the kernel has no such clock.
pub fn now(clock: Clock) -> (i64, u32) {
    let mut time = [0_i64; 2];
    // SAFETY: the kernel writes two 64-bit numbers, and `time` has that room.
    let answer = unsafe { call(CLOCK_GETTIME, [clock as usize, time.as_mut_ptr() as usize, 0]) };
    if answer < 0 { (0, 0) } else { (time[0], u32::try_from(time[1]).unwrap_or(0)) }
}

/// Ends the program.
pub fn exit(status: u8) -> ! {
    // SAFETY: the call does not come back and touches no memory of ours.
    unsafe { asm!("syscall", "ud2", in("rax") EXIT_GROUP, in("rdi") usize::from(status), options(noreturn, nostack)) }
}

/// Replaces the program, and comes back only with the reason why not.
///
/// # Safety
/// `arguments` and `environment` are arrays of pointers to strings with a NUL each, ended by a null pointer.
pub unsafe fn exec(path: &CStr, arguments: *const *const c_char, environment: *const *const c_char) -> Errno {
    // SAFETY: the strings and the vectors are readable and ended, by the types and the caller's promise.
    fault(unsafe { call(EXECVE, [path.as_ptr() as usize, arguments as usize, environment as usize]) })
}

/// Starts `path` as a child and gives its process number, after the child has left this program's memory.
///
/// # Errors
/// Of `clone` (EAGAIN, ENOMEM, ENOSYS) or of the child's `execve` (ENOENT, EACCES, ENOEXEC, ENOTDIR, ENOMEM, …). In the
/// second case the child is left to be waited for: its number is beside the error.
///
/// # Safety
/// As [`exec`].
pub unsafe fn spawn(
    path: &CStr,
    arguments: *const *const c_char,
    environment: *const *const c_char,
) -> Result<i32, (Errno, Option<i32>)> {
    let mut failure = 0_i32;
    // SAFETY: the vectors are the caller's promise, and `failure` outlives the child's use of this memory: the parent is
    // suspended until the child has called execve with success, or exited.
    let answer = unsafe { vfork_exec(path.as_ptr(), arguments, environment, &raw mut failure) };
    let Ok(child) = i32::try_from(answer) else { return Err((Errno::INVAL, None)) };
    if child < 0 {
        return Err((fault(answer), None));
    }
    // SAFETY: a live local, read as volatile because the compiler does not see the child's write.
    match unsafe { (&raw const failure).read_volatile() } {
        0 => Ok(child),
        code => Err((Errno::from_raw_os_error(-code), Some(child))),
    }
}

/// `clone(CLONE_VM | CLONE_VFORK | SIGCHLD)`, then `execve` in the child.
///
/// The child runs on the parent's stack, so it may not push, call or return: three system calls in registers are all it does.
/// Registers rbx and r12 to r14 hold the arguments over the call and are the parent's own again at the end.
#[unsafe(naked)]
unsafe extern "C" fn vfork_exec(
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    failure: *mut i32,
) -> isize {
    naked_asm!(
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "mov rbx, rdi",
        "mov r12, rsi",
        "mov r13, rdx",
        "mov r14, rcx",
        "mov eax, 56",     // clone
        "mov edi, 0x4111", // CLONE_VM | CLONE_VFORK | SIGCHLD
        "xor esi, esi",    // the same stack
        "xor edx, edx",
        "xor r10d, r10d",
        "xor r8d, r8d",
        "syscall",
        "test rax, rax",
        "jnz 2f",
        "mov eax, 59", // execve
        "mov rdi, rbx",
        "mov rsi, r12",
        "mov rdx, r13",
        "syscall",
        "mov dword ptr [r14], eax",
        "mov eax, 231", // exit_group
        "mov edi, 127",
        "syscall",
        "ud2",
        "2:",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "ret",
    )
}

/// Sets the wall clock to `seconds` since 1970.
///
/// # Errors
/// EPERM for all but a privileged user, EINVAL for a time that the kernel does not take.
pub fn set_clock(seconds: i64) -> Result<(), Errno> {
    let time = [seconds, 0_i64];
    // SAFETY: the kernel reads two 64-bit numbers, which `time` has.
    let answer = unsafe { call(CLOCK_SETTIME, [Clock::Real as usize, time.as_ptr() as usize, 0]) };
    if answer < 0 { Err(fault(answer)) } else { Ok(()) }
}
