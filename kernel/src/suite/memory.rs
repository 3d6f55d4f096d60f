//! Frames, heap, stacks, address spaces.

use alloc::boxed::Box;
use alloc::vec::Vec;

use boot::layout::PAGE_SIZE;

use crate::memory::address_space::{AddressSpace, Owner, Rights};
use crate::memory::frames::{self, Frame};
use crate::memory::stack::{self, KernelStack, STACK_BYTES};
use crate::memory::{paging, physical_address};
use crate::{ensure, ensure_eq, test};

const RW: Rights = Rights { write: true, execute: false };

fn map_zeroed(space: &mut AddressSpace, page: u64, rights: Rights) -> base::Result<()> {
    let frame = Frame::zeroed().ok_or(base::Errno::ENOMEM)?;
    Ok(space.map(page, frame, rights)?)
}

test!(
    "memory",
    fn blocks_are_aligned_distinct_and_come_back() {
        let before = frames::usage();
        let mut taken = Vec::new();
        for count in [1, 2, 3, 5, 8, 17, 64, 1, 1, 100] {
            let Some(start) = frames::allocate(count) else { break };
            let align = (count as u64).next_power_of_two() * PAGE_SIZE;
            ensure!(start.is_multiple_of(align), "{count} frames at {start:#x}");
            let range = start..start + count as u64 * PAGE_SIZE;
            for (other, other_count) in &taken {
                let end: u64 = other + *other_count as u64 * PAGE_SIZE;
                ensure!(range.end <= *other || end <= range.start, "{range:x?} overlaps {other:#x}");
            }
            taken.push((start, count));
        }
        ensure_eq!(taken.len(), 10);
        // Once as they were taken, once in halves.
        for (start, count) in taken {
            let half = count / 2;
            // SAFETY: the block was taken above and is not used.
            unsafe {
                frames::release(start, half);
                frames::release(start + half as u64 * PAGE_SIZE, count - half);
            }
        }
        // The list of blocks itself may have taken a chunk for the heap.
        ensure!(before.free - frames::usage().free <= 256 << 10, "{before:?}, now {:?}", frames::usage());
        Ok(())
    }
);

test!(
    "memory",
    fn running_out_is_an_error_and_everything_comes_back() {
        let before = frames::usage();
        let mut blocks = Vec::new();
        blocks.try_reserve(100_000).map_err(crate::suite::Failure::new)?;
        let mut count = 1 << 14;
        while count > 0 {
            match frames::allocate(count) {
                Some(start) if blocks.len() < blocks.capacity() => blocks.push((start, count)),
                Some(start) => {
                    blocks.push((start, count));
                    break;
                }
                None => count /= 2,
            }
        }
        let empty = frames::usage().free;
        let refused = Vec::<u8>::new().try_reserve(1 << 20).is_err();
        for (start, count) in blocks.drain(..) {
            // SAFETY: the block was taken above and is not used.
            unsafe { frames::release(start, count) };
        }
        drop(blocks);
        ensure_eq!(empty, 0);
        ensure!(refused, "a megabyte was found in nothing");
        ensure!(before.free - frames::usage().free <= 256 << 10);
        Ok(())
    }
);

test!(
    "memory",
    fn an_absurd_request_is_refused() {
        ensure!(Vec::<u8>::new().try_reserve(1 << 46).is_err());
        ensure!(frames::allocate(1 << 30).is_none());
        Ok(())
    }
);

test!(
    "memory",
    fn the_heap_keeps_what_it_was_given() {
        let before = frames::usage();
        let mut blocks: Vec<Vec<u8>> = Vec::new();
        let mut state = 12345_u32;
        for round in 0..3000_u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let size = match state >> 29 {
                0 => 40_000 + (state & 0xffff) as usize,
                1 | 2 => 2000 + (state & 0xfff) as usize,
                _ => 1 + (state >> 8 & 0xff) as usize,
            };
            if blocks.len() > 200 {
                let block = blocks.swap_remove(state as usize % 200);
                ensure!(block.iter().all(|&byte| byte == block[0]), "a block of {} bytes was changed", block.len());
            }
            let mut block = Vec::new();
            block.resize(size, round as u8);
            if round % 3 == 0 {
                block.resize(size * 2, round as u8);
                block.shrink_to_fit();
            }
            blocks.push(block);
        }
        drop(blocks);
        let lost = before.free.saturating_sub(frames::usage().free);
        ensure!(lost <= 1 << 20, "{lost} bytes did not come back");
        Ok(())
    }
);

test!(
    "memory",
    fn heap_memory_is_contiguous_for_devices() {
        let block = alloc::vec![0_u8; 1 << 20];
        let first = physical_address(block.as_ptr());
        let last = physical_address(&raw const block[block.len() - 1]);
        ensure!(first.zip(last).is_some_and(|(first, last)| last - first == (1 << 20) - 1), "{first:?} to {last:?}");
        Ok(())
    }
);

test!(
    "memory",
    fn alignments_up_to_two_megabytes_are_honoured() {
        #[repr(align(4096))]
        struct Page([u8; 4096]);
        #[repr(align(2097152))]
        struct Huge;
        let page = Box::new(Page([7; 4096]));
        ensure!((&raw const *page as u64).is_multiple_of(4096) && page.0[4095] == 7);
        let layout = core::alloc::Layout::new::<Huge>();
        let layout = core::alloc::Layout::from_size_align(4096, layout.align()).map_err(crate::suite::Failure::new)?;
        // SAFETY: the size is not zero, and the block is given back with its layout.
        let address = unsafe {
            let block = alloc::alloc::alloc(layout);
            if !block.is_null() {
                alloc::alloc::dealloc(block, layout);
            }
            block as u64
        };
        ensure!(address != 0 && address.is_multiple_of(2 << 20), "{address:#x}");
        Ok(())
    }
);

test!(
    "memory",
    fn stacks_have_a_guard_page_and_give_their_frames_back() {
        let warm = KernelStack::new().map_err(base::Error::from)?;
        drop(warm);
        let before = frames::usage().free;
        let stacks = [KernelStack::new().map_err(base::Error::from)?, KernelStack::new().map_err(base::Error::from)?];
        for stack in &stacks {
            ensure_eq!(stack.top() - stack.bottom(), STACK_BYTES);
            ensure!(
                paging::kernel_physical(stack.bottom()).is_some() && paging::kernel_physical(stack.top() - 1).is_some()
            );
            ensure!(paging::kernel_physical(stack.bottom() - 1).is_none(), "no guard page");
            ensure!(stack::is_guard(stack.bottom() - 1) && !stack::is_guard(stack.bottom()));
            // SAFETY: the stack is mapped and not in use.
            unsafe { (stack.bottom() as *mut u8).write_bytes(0xcd, STACK_BYTES as usize) };
        }
        drop(stacks);
        ensure_eq!(frames::usage().free, before);
        Ok(())
    }
);

test!(
    "memory",
    fn an_address_space_maps_protects_unmaps_and_frees() {
        let before = frames::usage().free;
        let mut space = AddressSpace::new().map_err(base::Error::from)?;
        let page = 0x5555_5555_4000;
        map_zeroed(&mut space, page, RW)?;
        let mapping = space.lookup(page).ok_or(base::Errno::EFAULT).map_err(base::Error::from)?;
        ensure!(mapping.rights == RW && mapping.owner == Owner::Space && !mapping.dirty);
        // SAFETY: the frame is this address space's alone.
        let bytes = unsafe { core::slice::from_raw_parts(mapping.kernel_pointer(), PAGE_SIZE as usize) };
        ensure!(bytes.iter().all(|&byte| byte == 0), "not zeroed");

        let shared = Frame::new().ok_or(base::Errno::ENOMEM).map_err(base::Error::from)?;
        // SAFETY: `shared` outlives the address space.
        unsafe { space.map_borrowed(page + PAGE_SIZE, shared.address(), Rights { write: false, execute: true }) }
            .map_err(base::Error::from)?;
        ensure!(space.protect(page, Rights { write: false, execute: false }));
        ensure!(!space.protect(page + 2 * PAGE_SIZE, RW), "protected what is not there");
        let mut seen = Vec::new();
        space.for_each_page(0, boot::layout::USER_END, |_, at| seen.push(at));
        ensure_eq!(seen, [page, page + PAGE_SIZE]);
        ensure_eq!(space.lookup(page).map(|mapping| mapping.rights.write), Some(false));
        ensure_eq!(space.unmap(page + PAGE_SIZE).map(|mapping| mapping.owner), Some(Owner::Other));
        ensure!(space.lookup(page + PAGE_SIZE).is_none());
        drop((space, shared, seen));
        let lost = before - frames::usage().free;
        ensure!(lost <= 256 << 10, "{lost} bytes did not come back");
        Ok(())
    }
);

test!(
    "memory",
    fn an_active_address_space_shows_its_pages_and_can_be_dropped() {
        let mut space = AddressSpace::new().map_err(base::Error::from)?;
        let page = 0x40_0000;
        map_zeroed(&mut space, page, RW)?;
        space.activate();
        // Seen through the kernel's own mapping: user addresses are for the copy routines alone.
        ensure_eq!(space.unmap(page).map(|mapping| mapping.rights), Some(RW));
        map_zeroed(&mut space, page, RW)?;
        drop(space);
        // The kernel still runs, on its own map.
        ensure!(Box::new(5) == Box::new(5));
        Ok(())
    }
);
