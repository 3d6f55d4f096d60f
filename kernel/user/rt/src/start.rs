//! The program's first instructions.
//!
//! [`entry!`](crate::entry!) defines `_start`, which the kernel jumps to: it aligns the stack and calls [`begin`], which hands the arguments
//! to the program's own function and exits with what that returns.

use crate::{Arguments, output, process};

/// Defines the program's entry point: `entry!(main)` with `fn main(arguments: Arguments) -> u8`, the exit status.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[expect(unsafe_code, reason = "the kernel finds the entry point by its name, and it gets a bare stack")]
        const _: () = {
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!(
                    "xor ebp, ebp",
                    "mov rdi, rsp",
                    "and rsp, -16",
                    "call {begin}",
                    "ud2",
                    begin = sym begin,
                )
            }

            unsafe extern "C" fn begin(stack: *const usize) -> ! {
                // SAFETY: `_start` passes the stack pointer as the kernel left it.
                unsafe { $crate::start::begin(stack, $main) }
            }
        };
    };
}

/// Runs `main` and exits with its status.
///
/// # Safety
/// `stack` is the stack pointer at the program's first instruction, see [`Arguments::from_stack`].
pub unsafe fn begin(stack: *const usize, main: fn(Arguments) -> u8) -> ! {
    // SAFETY: passed on from the caller.
    let arguments = unsafe { Arguments::from_stack(stack) };
    let status = main(arguments);
    match output::flush() {
        Ok(()) => process::exit(status),
        Err(_) => process::exit(status.max(1)),
    }
}
