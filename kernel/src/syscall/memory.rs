//! Memory: `mmap` and its kin, `brk`.

use vfs::{Errno, Fd, FileType, Mapping, Result, SyncKind};

use alloc::vec::Vec;

use super::{Answer, Caller, done};
use crate::task::Rights;
use crate::task::space::{Backing, FileRange, MappedFile, OnFork, Place, Remap, Shared, shared};
use crate::user::UserBytes;

const MAP_SHARED: u32 = 0x01;
const MAP_PRIVATE: u32 = 0x02;
const MAP_SHARED_VALIDATE: u32 = 0x03;
const MAP_TYPE: u32 = 0x0f;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_POPULATE: u32 = 0x8000;
const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;

/// `PROT_*`; growing mappings (`PROT_GROWSDOWN`, `PROT_GROWSUP`) are not there.
fn rights(protection: u32) -> Result<Rights> {
    u8::try_from(protection).ok().and_then(Rights::from_bits).ok_or_else(|| Errno::EINVAL.into())
}

/// `mmap(2)`.
///
/// A private mapping of a file shows it as it was when each page was first touched.
pub(super) fn mmap(
    caller: &mut Caller<'_>,
    address: u64,
    length: u64,
    protection: u32,
    flags: u32,
    fd: Fd,
    offset: u64,
) -> Answer {
    // Unknown bits of the protection are ignored here, unlike in `mprotect`.
    let wanted = Rights::from_bits_truncate(protection as u8);
    if !offset.is_multiple_of(boot::layout::PAGE_SIZE) {
        return Err(Errno::EINVAL.into());
    }
    let shared = match flags & MAP_TYPE {
        MAP_PRIVATE => false,
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL.into()),
    };
    let mut allowed = Rights::all();
    let backing = if flags & MAP_ANONYMOUS != 0 {
        match shared {
            true => Backing::Shared { object: Shared::anonymous(), first: 0 },
            false => Backing::Anonymous,
        }
    } else {
        let open = caller.context.file(fd)?;
        if length == 0 {
            return Err(Errno::EINVAL.into());
        }
        if offset.checked_add(length).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::EOVERFLOW.into());
        }
        let mut want = Mapping::empty();
        want.set(Mapping::SHARED, shared);
        want.set(Mapping::WRITE, wanted.contains(Rights::WRITE));
        want.set(Mapping::EXECUTE, wanted.contains(Rights::EXECUTE));
        if open.stat()?.attr.kind == FileType::CharDevice {
            return map_device(caller, &open, address, length, wanted, flags);
        }
        let content = open.mapping(want)?;
        allowed.set(Rights::WRITE, !shared || open.flags().writes());
        let file = MappedFile { open, content };
        match shared {
            true => Backing::Shared { object: shared::map_file(file)?, first: offset / boot::layout::PAGE_SIZE },
            false => Backing::File(FileRange { file, offset, end: None }),
        }
    };
    let mut space = caller.space().lock();
    let start = space.map(place(address, flags), length, wanted, allowed, backing)?;
    if flags & MAP_POPULATE != 0 {
        space.populate(start, length);
    }
    Ok(start as usize)
}

/// Character devices are not mapped, but for `/dev/zero`, which is anonymous memory by another name.
fn map_device(
    caller: &Caller<'_>,
    open: &vfs::OpenFile,
    address: u64,
    length: u64,
    wanted: Rights,
    flags: u32,
) -> Answer {
    if open.stat()?.attr.rdev != crate::dev::ZERO {
        return Err(Errno::ENODEV.into());
    }
    let mut space = caller.space().lock();
    Ok(space.map(place(address, flags), length, wanted, Rights::all(), Backing::Anonymous)? as usize)
}

fn place(address: u64, flags: u32) -> Place {
    if flags & MAP_FIXED_NOREPLACE != 0 {
        Place::FixedIfFree(address)
    } else if flags & MAP_FIXED != 0 {
        Place::Fixed(address)
    } else if address != 0 {
        Place::Hint(address)
    } else {
        Place::Any
    }
}

/// `munmap(2)`.
pub(super) fn munmap(caller: &mut Caller<'_>, address: u64, length: u64) -> Answer {
    done(caller.space().lock().unmap(address, length))
}

/// `mprotect(2)`.
pub(super) fn mprotect(caller: &mut Caller<'_>, address: u64, length: u64, protection: u32) -> Answer {
    done(caller.space().lock().protect(address, length, rights(protection)?))
}

const MREMAP_MAYMOVE: u32 = 1;
const MREMAP_FIXED: u32 = 2;

/// `mremap(2)`.
pub(super) fn mremap(
    caller: &mut Caller<'_>,
    old: u64,
    old_length: u64,
    new_length: u64,
    flags: u32,
    new: u64,
) -> Answer {
    let how = match flags {
        0 => Remap::InPlace,
        MREMAP_MAYMOVE => Remap::MayMove,
        _ if flags == MREMAP_MAYMOVE | MREMAP_FIXED => Remap::To(new),
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(caller.space().lock().remap(old, old_length, new_length, how)? as usize)
}

const MADV_DONTNEED: u32 = 4;
const MADV_FREE: u32 = 8;
const MADV_REMOVE: u32 = 9;
const MADV_DONTFORK: u32 = 10;
const MADV_DOFORK: u32 = 11;
const MADV_WIPEONFORK: u32 = 18;
const MADV_KEEPONFORK: u32 = 19;
const MADV_POPULATE_READ: u32 = 22;
const MADV_POPULATE_WRITE: u32 = 23;

/// `madvise(2)`: what frees memory does, and what tells of children; the rest is checked and has no effect.
pub(super) fn madvise(caller: &mut Caller<'_>, address: u64, length: u64, advice: u32) -> Answer {
    let mut space = caller.space().lock();
    match advice {
        MADV_DONTNEED | MADV_FREE => done(space.forget(address, length)),
        MADV_REMOVE => Err(Errno::EINVAL.into()),
        MADV_DONTFORK => done(space.set_on_fork(address, length, OnFork::Left)),
        MADV_WIPEONFORK => done(space.set_on_fork(address, length, OnFork::Wiped)),
        MADV_DOFORK | MADV_KEEPONFORK => done(space.set_on_fork(address, length, OnFork::Copied)),
        MADV_POPULATE_READ | MADV_POPULATE_WRITE => {
            space.check_mapped(address, length)?;
            let access = if advice == MADV_POPULATE_READ { Rights::READ } else { Rights::WRITE };
            let length = length.next_multiple_of(boot::layout::PAGE_SIZE) as usize;
            match space.prefault(address, length, access)? {
                ready if ready == length => Ok(0),
                _ => Err(Errno::EFAULT.into()),
            }
        }
        0..=3 | 12..=17 | 20 | 21 | 24 | 25 => done(space.check_mapped(address, length)),
        _ => Err(Errno::EINVAL.into()),
    }
}

const MS_ASYNC: u32 = 1;
const MS_INVALIDATE: u32 = 2;
const MS_SYNC: u32 = 4;

/// `msync(2)`: what was stored in shared mappings is the file's; with `MS_SYNC` it is durable, too.
pub(super) fn msync(caller: &mut Caller<'_>, address: u64, length: u64, flags: u32) -> Answer {
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0 || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC {
        return Err(Errno::EINVAL.into());
    }
    let mut space = caller.space().lock();
    space.check_mapped(address, length).map_err(|error| match error.errno() {
        Errno::EINVAL if address.is_multiple_of(boot::layout::PAGE_SIZE) => Errno::ENOMEM.into(),
        _ => error,
    })?;
    let end = address.saturating_add(length);
    space.sync_shared(address, end)?;
    if flags & MS_SYNC == 0 {
        return Ok(0);
    }
    let files: Vec<_> = space
        .areas()
        .within(address, end)
        .filter(|(_, area)| matches!(area.backing, Backing::Shared { .. }))
        .filter_map(|(_, area)| area.backing.file().map(|(open, _)| open.clone()))
        .collect();
    drop(space);
    for file in files {
        file.sync(SyncKind::Data)?;
    }
    Ok(0)
}

/// `mincore(2)`: which pages are there.
pub(super) fn mincore(caller: &mut Caller<'_>, address: u64, length: u64, result: u64) -> Answer {
    let pages = length.div_ceil(boot::layout::PAGE_SIZE);
    caller.space().lock().check_mapped(address, length)?;
    let mut claim = UserBytes::whole(result, pages as usize);
    let mut at = address;
    while !claim.is_empty() {
        let mut there = [0; 64];
        let count = claim.len().min(there.len());
        for slot in &mut there[..count] {
            *slot = u8::from(caller.space().lock().is_resident(at));
            at += boot::layout::PAGE_SIZE;
        }
        claim.write(&there[..count])?;
        claim = claim.skip(count);
    }
    Ok(0)
}

/// `mlock(2)`, `munlock(2)`: memory is never taken away.
pub(super) fn mlock(caller: &mut Caller<'_>, address: u64, length: u64) -> Answer {
    let start = address & !(boot::layout::PAGE_SIZE - 1);
    let outcome = caller.space().lock().check_mapped(start, length.saturating_add(address - start));
    done(outcome.map_err(|_| Errno::ENOMEM.into()))
}

/// `mlockall(2)`.
pub(super) fn mlockall(_caller: &mut Caller<'_>, flags: u32) -> Answer {
    if flags == 0 || flags & !7 != 0 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}

/// `munlockall(2)`.
pub(super) fn munlockall(_caller: &mut Caller<'_>) -> Answer {
    Ok(0)
}

/// `brk(2)`: where the heap ends then, moved or not.
pub(super) fn brk(caller: &mut Caller<'_>, address: u64) -> Answer {
    Ok(caller.space().lock().set_heap_end(address) as usize)
}
