//! The auxiliary vector that a program finds on its first stack (`getauxval(3)`).

use zerocopy::{Immutable, IntoBytes};

/// One entry.
#[repr(C)]
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
pub(crate) struct Auxv {
    /// Which: a constant of [`auxv`].
    pub(crate) kind: u64,
    /// Its value.
    pub(crate) value: u64,
}

/// The kinds of entries (`<linux/auxvec.h>`).
pub(crate) mod auxv {
    pub(crate) const NULL: u64 = 0;
    pub(crate) const PHDR: u64 = 3;
    pub(crate) const PHENT: u64 = 4;
    pub(crate) const PHNUM: u64 = 5;
    pub(crate) const PAGESZ: u64 = 6;
    pub(crate) const BASE: u64 = 7;
    pub(crate) const FLAGS: u64 = 8;
    pub(crate) const ENTRY: u64 = 9;
    pub(crate) const UID: u64 = 11;
    pub(crate) const EUID: u64 = 12;
    pub(crate) const GID: u64 = 13;
    pub(crate) const EGID: u64 = 14;
    pub(crate) const PLATFORM: u64 = 15;
    pub(crate) const HWCAP: u64 = 16;
    pub(crate) const CLKTCK: u64 = 17;
    pub(crate) const SECURE: u64 = 23;
    pub(crate) const RANDOM: u64 = 25;
    pub(crate) const EXECFN: u64 = 31;

    const _: () = {
        use linux_raw_sys::auxvec as linux;
        assert!(PHDR == linux::AT_PHDR as u64 && PAGESZ == linux::AT_PAGESZ as u64);
        assert!(SECURE == linux::AT_SECURE as u64 && RANDOM == linux::AT_RANDOM as u64);
        assert!(EXECFN == linux::AT_EXECFN as u64 && CLKTCK == linux::AT_CLKTCK as u64);
    };
}
