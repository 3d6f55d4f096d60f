//! A panic is a defect of the program: its place and its words go to standard error, and the program ends with 101.

use core::panic::PanicInfo;

use crate::{eprintln, process};

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    eprintln!("{info}");
    process::exit(101)
}

/// Named by the unwinding tables of the precompiled `core` and `alloc`; never called, because a panic ends the program.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the cleanup code of the precompiled `alloc`, which is only reached by unwinding, and so never.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    process::exit(101)
}
