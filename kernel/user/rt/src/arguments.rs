//! What the kernel put on the stack for the program: its arguments and its environment.
//!
//! Key type: [`Arguments`], made once by [`crate::start`].

use core::ffi::{CStr, c_char};

/// The argument and environment strings, which live as long as the program.
#[derive(Clone, Copy)]
pub struct Arguments {
    arguments: &'static [*const c_char],
    environment: &'static [*const c_char],
}

impl Arguments {
    /// Reads the vectors that a Linux kernel leaves at the top of a new program's stack.
    ///
    /// # Safety
    /// `stack` is the stack pointer as it was at the program's first instruction, laid out as the System V ABI for x86_64
    /// says (chapter "Initial Stack"): count, argument pointers, null, environment pointers, null.
    pub unsafe fn from_stack(stack: *const usize) -> Self {
        // SAFETY: the caller promises the layout, so the count is at the top and that many pointers follow it.
        let count = unsafe { stack.read() };
        // SAFETY: as above; the pointers start one word further on.
        let first = unsafe { stack.add(1) }.cast::<*const c_char>();
        // SAFETY: `count` pointers lie there, and the stack's top is never unmapped or changed.
        let arguments = unsafe { core::slice::from_raw_parts(first, count) };
        // SAFETY: the environment starts after the null pointer that ends the arguments.
        let environment = unsafe { first.add(count + 1) };
        let mut variables = 0;
        // SAFETY: the environment ends with a null pointer, and the loop stops at it.
        while !unsafe { environment.add(variables).read() }.is_null() {
            variables += 1;
        }
        // SAFETY: `variables` pointers were just seen to lie there.
        let environment = unsafe { core::slice::from_raw_parts(environment, variables) };
        Self { arguments, environment }
    }

    /// The arguments, the program's own name first.
    pub fn iter(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        self.arguments.iter().map(|&text| bytes(text))
    }

    /// The environment, `NAME=VALUE` each.
    pub fn environment(&self) -> impl Iterator<Item = &'static [u8]> + use<> {
        self.environment.iter().map(|&text| bytes(text))
    }
}

fn bytes(text: *const c_char) -> &'static [u8] {
    // SAFETY: the pointers of the initial stack are to strings with a NUL at their end, which stay for the program's life.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}
