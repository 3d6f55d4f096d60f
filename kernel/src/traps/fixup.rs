//! Instructions that may fault on purpose.
//!
//! Copies to and from user memory are written in assembly with an entry in the `.fixups` section: the address of the
//! instruction that touches user memory and the address to continue at when that fails, both relative to the entry's
//! own fields. [`target`] finds it.

/// An entry of the section.
#[repr(C)]
struct Fixup {
    instruction: i32,
    target: i32,
}

unsafe extern "C" {
    static __fixups_start: Fixup;
    static __fixups_end: Fixup;
}

/// Where to continue when the instruction at `rip` faulted on user memory.
pub(super) fn target(rip: u64) -> Option<u64> {
    let start = &raw const __fixups_start;
    let count = (&raw const __fixups_end as usize - start as usize) / size_of::<Fixup>();
    (0..count).find_map(|index| {
        let entry = start.wrapping_add(index);
        // SAFETY: the linker script puts the section between the symbols, and only entries into the section.
        let (instruction, target) = unsafe { ((*entry).instruction, (*entry).target) };
        let at = entry as u64;
        (at.wrapping_add_signed(i64::from(instruction)) == rip).then(|| (at + 4).wrapping_add_signed(i64::from(target)))
    })
}
