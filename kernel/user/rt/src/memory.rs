//! `memcpy` and its family, which compiled Rust calls and a C library would supply.
//!
//! String instructions rather than loops: a loop would be recognised as a copy and compiled into a call of itself. Eight
//! bytes at a time, because emulators run `rep movsb` three times slower than `rep movsq`, and hardware runs both well.

use core::arch::asm;

/// Copies `count` bytes from `source` to `destination`, which do not overlap.
///
/// # Safety
/// As C's `memcpy`: both ranges valid for `count` bytes, not overlapping.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcpy(destination: *mut u8, source: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller vouches for both ranges; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep movsq",
            "mov ecx, {rest:e}",
            "rep movsb",
            rest = in(reg) count & 7,
            inout("rcx") count >> 3 => _,
            inout("rdi") destination => _,
            inout("rsi") source => _,
            options(nostack, preserves_flags),
        );
    }
    destination
}

/// Copies `count` bytes from `source` to `destination`, which may overlap.
///
/// # Safety
/// As C's `memmove`: both ranges valid for `count` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memmove(destination: *mut u8, source: *const u8, count: usize) -> *mut u8 {
    if (destination as usize).wrapping_sub(source as usize) >= count {
        // Copying upwards never reaches a source byte after it was overwritten. Words are safe too: the destination lies
        // below the source or beyond its end, so a word is read before any later word is written.
        // SAFETY: the ranges are the caller's; overlap with the destination below is harmless in `memcpy`'s order.
        return unsafe { memcpy(destination, source, count) };
    }
    // SAFETY: the caller vouches for both ranges. Copied downwards, bytes first so that whole words remain; the direction
    // flag is restored.
    unsafe {
        asm!(
            "std",
            "rep movsb",
            "sub rsi, 7",
            "sub rdi, 7",
            "mov rcx, {words}",
            "rep movsq",
            "cld",
            words = in(reg) count >> 3,
            inout("rcx") count & 7 => _,
            inout("rdi") destination.wrapping_add(count).wrapping_sub(1) => _,
            inout("rsi") source.wrapping_add(count).wrapping_sub(1) => _,
            options(nostack),
        );
    }
    destination
}

/// Sets `count` bytes to `value`.
///
/// # Safety
/// As C's `memset`: the range valid for writing `count` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memset(destination: *mut u8, value: i32, count: usize) -> *mut u8 {
    let pattern = u64::from(value as u8) * 0x0101_0101_0101_0101;
    // SAFETY: the caller vouches for the range; the direction flag is clear by the ABI.
    unsafe {
        asm!(
            "rep stosq",
            "mov ecx, {rest:e}",
            "rep stosb",
            rest = in(reg) count & 7,
            inout("rcx") count >> 3 => _,
            inout("rdi") destination => _,
            in("rax") pattern,
            options(nostack, preserves_flags),
        );
    }
    destination
}

/// Compares `count` bytes as unsigned numbers.
///
/// # Safety
/// As C's `memcmp`: both ranges valid for reading `count` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    let mut at = 0;
    while at + 8 <= count {
        // SAFETY: eight bytes at `at` lie inside both ranges.
        let (a, b) =
            unsafe { (left.add(at).cast::<u64>().read_unaligned(), right.add(at).cast::<u64>().read_unaligned()) };
        if a != b {
            return if a.swap_bytes() < b.swap_bytes() { -1 } else { 1 };
        }
        at += 8;
    }
    while at < count {
        // SAFETY: `at` lies inside both ranges.
        let (a, b) = unsafe { (left.add(at).read(), right.add(at).read()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

/// Tells whether `count` bytes differ.
///
/// # Safety
/// As [`memcmp`].
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: passed on from the caller.
    unsafe { memcmp(left, right, count) }
}

/// The length of the string at `text`, without its NUL.
///
/// # Safety
/// As C's `strlen`: a NUL ends the readable bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the string ends with a NUL and the loop stops there. The read is volatile so that the loop is not itself
    // compiled into a call of `strlen`.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const ROOM: usize = 96;

    fn numbered() -> Vec<u8> {
        (0..ROOM).map(|at| at as u8).collect()
    }

    #[test]
    fn copies_of_every_length_and_overlap_match_those_of_std() {
        for count in 0..=40 {
            for from in 0..40 {
                for to in 0..40 {
                    let (mut ours, mut theirs) = (numbered(), numbered());
                    theirs.copy_within(from..from + count, to);
                    let base = ours.as_mut_ptr();
                    // SAFETY: both ranges end below 96, where the buffer does.
                    unsafe { memmove(base.add(to), base.add(from), count) };
                    assert_eq!(ours, theirs, "{count} bytes from {from} to {to}");
                    if from.abs_diff(to) >= count {
                        let mut ours = numbered();
                        let base = ours.as_mut_ptr();
                        // SAFETY: as above, and the ranges lie apart.
                        unsafe { memcpy(base.add(to), base.add(from), count) };
                        assert_eq!(ours, theirs, "{count} bytes from {from} to {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn fills_of_every_length_stay_in_their_range() {
        for count in 0..=40 {
            for at in 0..16 {
                let (mut ours, mut theirs) = (numbered(), numbered());
                theirs[at..at + count].fill(0xa5);
                // SAFETY: the range ends below 96, where the buffer does.
                unsafe { memset(ours.as_mut_ptr().add(at), 0x1a5, count) };
                assert_eq!(ours, theirs, "{count} bytes at {at}");
            }
        }
    }

    #[test]
    fn comparisons_order_by_the_first_byte_that_differs() {
        let left = numbered();
        for count in 0..=40 {
            for different in 0..=40 {
                let mut right = numbered();
                right[different] = 0xff;
                // SAFETY: both buffers are longer than `count`.
                let found = unsafe { memcmp(left.as_ptr(), right.as_ptr(), count) };
                assert_eq!(found < 0, different < count);
                // SAFETY: as above.
                let found = unsafe { bcmp(right.as_ptr(), left.as_ptr(), count) };
                assert_eq!(found > 0, different < count);
            }
        }
        // SAFETY: the string ends with a NUL.
        assert_eq!(unsafe { strlen(c"four".as_ptr().cast()) }, 4);
    }
}
