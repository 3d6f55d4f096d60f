//! Ways to fail: each ends the kernel, and the host's test looks at what it says. They run only when asked for by a
//! pattern that begins with `crash::`.

use alloc::vec::Vec;
use core::hint::black_box;

use crate::suite::Failure;
use crate::test;

fn survived() -> Result<(), Failure> {
    Err(Failure::new("the kernel survived"))
}

test!(
    "crash",
    fn reading_a_null_pointer() {
        // SAFETY: none; the fault is what is wanted, and it stops the kernel.
        black_box(unsafe { black_box(core::ptr::without_provenance::<u64>(8)).read_volatile() });
        survived()
    }
);

test!(
    "crash",
    fn writing_to_read_only_data() {
        static CONSTANT: u64 = 5;
        // SAFETY: as above.
        unsafe { black_box((&raw const CONSTANT).cast_mut()).write_volatile(6) };
        survived()
    }
);

test!(
    "crash",
    fn writing_to_text_through_the_direct_map() {
        let text = boot::layout::direct(survived as *const () as u64 - boot::layout::KERNEL_IMAGE);
        // SAFETY: as above.
        unsafe { black_box(text as *mut u8).write_volatile(0xcc) };
        survived()
    }
);

test!(
    "crash",
    fn executing_data() {
        static CODE: [u8; 16] = [0xc3; 16];
        // SAFETY: as above.
        let function: extern "C" fn() = unsafe { core::mem::transmute(black_box(CODE.as_ptr())) };
        function();
        survived()
    }
);

#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1).wrapping_add(frame[(depth % 64) as usize])
}

test!(
    "crash",
    fn overflowing_the_stack() {
        black_box(recurse(0));
        survived()
    }
);

test!(
    "crash",
    fn an_undefined_instruction() {
        // SAFETY: as above.
        unsafe { core::arch::asm!("ud2") };
        survived()
    }
);

test!(
    "crash",
    fn an_address_that_is_not_canonical() {
        // SAFETY: as above.
        black_box(unsafe { black_box(0x8000_0000_0000_0000_u64 as *const u8).read_volatile() });
        survived()
    }
);

test!(
    "crash",
    fn a_panic() {
        panic!("on purpose");
    }
);

test!(
    "crash",
    fn an_allocation_that_cannot_fail() {
        black_box(Vec::<u8>::with_capacity(black_box(1 << 45)));
        survived()
    }
);
