//! The kernel's address space: the constants that the entry code, the linker script and the kernel share.
//!
//! | virtual | what |
//! |---|---|
//! | `0x0000_0000_0000_0000` … `0x0000_7fff_ffff_ffff` | user |
//! | [`DIRECT_MAP`] … + 64 TiB | all physical memory, read-write, never executable |
//! | [`DEVICE_MAP`] … + 512 GiB | device registers, uncached |
//! | [`STACK_MAP`] … + 512 GiB | kernel stacks, a guard page below each |
//! | [`KERNEL_IMAGE`] … + 1 GiB | the image: text, read-only data, data |

/// Where physical address 0 appears.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;

/// Where device registers are mapped, one after the other.
pub const DEVICE_MAP: u64 = 0xffff_c000_0000_0000;

/// Where kernel stacks are mapped.
pub const STACK_MAP: u64 = 0xffff_d000_0000_0000;

/// The difference between an address of the kernel's image and the physical address that it is loaded at.
pub const KERNEL_IMAGE: u64 = 0xffff_ffff_8000_0000;

/// How much physical memory the entry code maps at [`DIRECT_MAP`], in bytes. Everything that a loader hands
/// over must lie below; the kernel maps the rest.
pub const EARLY_MAPPED: u64 = 4 << 30;

/// The size of a page and of a page frame, in bytes.
pub const PAGE_SIZE: u64 = 4096;

/// The first address above user space.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// The address at which the direct map shows physical address `physical`.
#[must_use]
pub const fn direct(physical: u64) -> u64 {
    DIRECT_MAP.wrapping_add(physical)
}
