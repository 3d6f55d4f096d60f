//! What a crash leaves: inodes that were removed while open, files that were being cut, staged inodes without a name.
//!
//! They are on a list through the inodes (`s_last_orphan`, `i_dtime`), and with `orphan_file` also in a file. A mount that may
//! write frees or cuts them all.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use vfs::{Errno, Error, Result};

use crate::bytes::{le32, put32};
use crate::dir::block::Entries;
use crate::dir::names::CREDITS;
use crate::extent::{Mapping, Progress, State};
use crate::features::RoCompat;
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::orphans::{Neighbours, Orphans};
use crate::superblock::field;
use crate::transaction::{Core, Seal};

/// Magic number in the tail of a block of the orphan file.
const ORPHAN_MAGIC: u32 = 0x0b10_ca04;

impl Ext4 {
    /// Reads the list of orphans that the superblock begins.
    pub(crate) fn find_orphans(&self, first: u32) {
        let mut list = Orphans::default();
        let mut last = 0;
        let mut ino = first;
        while ino != 0 {
            if !self.is_nameable(ino) {
                self.corrupt("ext4: orphan list leads to an impossible inode");
                break;
            }
            if list.contains(ino) {
                self.corrupt("ext4: orphan list does not end");
                break;
            }
            match self.allocated_inode(ino) {
                Ok(Some(inode)) => {
                    self.note_cut(&inode);
                    list.insert(inode.clone(), Neighbours { newer: last, older: 0 });
                    last = ino;
                    ino = inode.record.read().dtime;
                }
                Ok(None) => {
                    self.corrupt("ext4: orphan list leads to a free inode");
                    break;
                }
                Err(_) => break,
            }
        }
        self.core.lock().orphans = list;
    }

    /// An orphan with a name is one that was being cut, at its size.
    fn note_cut(&self, inode: &Inode) {
        let record = inode.record.read();
        if record.links != 0 && record.owns_blocks(&self.geometry) {
            let from = record.size.div_ceil(self.geometry.block_size as u64).min(u64::from(u32::MAX));
            *inode.cut.lock() = Some(from as u32);
        }
    }

    /// Frees what is on the list.
    pub(crate) fn free_orphans(&self) {
        let mut core = self.core.lock();
        self.reap_orphans(&mut core);
    }

    /// Frees what is on the list, held or not.
    pub(crate) fn reap_orphans(&self, core: &mut Core) {
        loop {
            let all: Vec<Arc<Inode>> = core.orphans.iter().cloned().collect();
            let mut freed = false;
            for inode in all {
                // An error has been told where it arose; that one stays for the next mount.
                freed |= self.finish_orphan(core, &inode).is_ok();
                if !self.health.is_writable() {
                    return;
                }
            }
            // A directory may have left what was in it.
            if !freed {
                break;
            }
        }
        self.reap_queued(core);
    }

    fn finish_orphan(&self, core: &mut Core, inode: &Arc<Inode>) -> Result<()> {
        if inode.is_nameless() {
            log::debug!("ext4: freeing orphaned inode {}", inode.ino);
            return self.reap(core, inode);
        }
        log::debug!("ext4: finishing the truncation of inode {}", inode.ino);
        while self.transact_with(core, CREDITS, inode, |h| h.truncate_step(inode))? == Progress::More {}
        self.transact_with(core, CREDITS, inode, |h| h.remove_orphan(inode))
    }

    /// An inode whose bit in the bitmap is set; `None` if it is free.
    pub(crate) fn allocated_inode(&self, ino: u32) -> Result<Option<Arc<Inode>>> {
        if let Some(inode) = self.inodes.get(ino) {
            let gone = inode.is_nameless() && !self.inodes.is_open(&inode) && inode.record.read().dtime != 0;
            return Ok((!gone).then_some(inode));
        }
        let (group, index) = self.geometry.inode_location(ino);
        let desc = {
            let core = self.core.lock();
            core.groups[group as usize].desc
        };
        if desc.flags & crate::group::INODE_UNINIT != 0 {
            return Ok(None);
        }
        let bitmap = self.metadata(desc.inode_bitmap, Seal::InodeBitmap(group))?;
        let used = crate::space::bitmap::all_set(&bitmap.read(), index, 1);
        if used { self.inode(ino).map(Some) } else { Ok(None) }
    }

    /// Works the file of orphans off and empties it.
    pub(crate) fn empty_orphan_file(&self) {
        if let Err(error) = self.work_off_orphan_file() {
            log::warn!("ext4: the file of orphans was not emptied: {error}");
        }
    }

    fn work_off_orphan_file(&self) -> Result<()> {
        let file = self.inode(self.geometry.orphan_file)?;
        let size = self.geometry.block_size;
        let blocks = (file.record.read().size >> self.geometry.block_bits).min(1 << 16) as u32;
        for block in 0..blocks {
            let Mapping::Blocks { start, state: State::Written, .. } = self.map(&file, block)? else {
                return Err(self.corrupt("ext4: hole in the file of orphans"));
            };
            let buffer = self.metadata(start, Seal::Orphans(file.seed))?;
            let inos: Vec<u32> = {
                let bytes = buffer.read();
                if le32(&bytes, size - 8) != ORPHAN_MAGIC {
                    return Err(self.corrupt("ext4: file of orphans"));
                }
                bytes[..size - 8].chunks_exact(4).map(|word| le32(word, 0)).filter(|&ino| ino != 0).collect()
            };
            if inos.is_empty() {
                continue;
            }
            for ino in inos {
                if !self.is_nameable(ino) {
                    return Err(self.corrupt("ext4: file of orphans names an impossible inode"));
                }
                let Some(inode) = self.allocated_inode(ino)? else { continue };
                let mut core = self.core.lock();
                // On the list it is treated like all others, and a second crash finds it there.
                self.transact_with(&mut core, CREDITS, &inode, |h| h.add_orphan(&inode))?;
                self.note_cut(&inode);
                // One that cannot be freed stays on the list, for the next mount.
                let _ = self.finish_orphan(&mut core, &inode);
                self.reap_queued(&mut core);
            }
            let mut core = self.core.lock();
            self.transact_with(&mut core, CREDITS, &file, |h| {
                h.modify(&buffer, Seal::Orphans(file.seed), 0..size - 8, |bytes| bytes.fill(0));
                Ok(())
            })?;
        }
        let mut core = self.core.lock();
        self.transact_with(&mut core, CREDITS, &file, |h| {
            h.touch_superblock()?;
            let (block, offset) = h.fs.geometry.super_location();
            let buffer = h.fs.metadata(block, Seal::None)?;
            let at = offset + field::FEATURE_RO_COMPAT;
            h.modify(&buffer, Seal::Superblock, at..at + 4, |bytes| {
                let bits = le32(bytes, 0) & !RoCompat::ORPHAN_PRESENT.bits();
                put32(bytes, 0, bits);
            });
            Ok(())
        })?;
        self.commit(&mut core)
    }

    /// Unlinks whatever a directory without a name holds: a staged one that was filled, or one that a crash left.
    pub(crate) fn empty_directory(&self, core: &mut Core, dir: &Arc<Inode>) -> Result<()> {
        for block in 0..self.dir_blocks(dir) {
            let place = self.dir_block(dir, block)?;
            let entries: Vec<(usize, u32)> = {
                let bytes = place.buffer.read();
                Entries::new(&bytes[..self.end_of(&place)])
                    .filter(|entry| entry.as_ref().map_or(true, |entry| entry.ino != 0 && !entry.is_dot()))
                    .map(|entry| entry.map(|entry| (entry.offset, entry.ino)))
                    .collect::<Result<_>>()
                    .map_err(|error| self.failed(error))?
            };
            if entries.is_empty() {
                continue;
            }
            self.transact_with(core, CREDITS + entries.len(), dir, |h| {
                for &(offset, ino) in &entries {
                    let child = h.fs.linked_inode(ino)?;
                    if Arc::ptr_eq(&child, dir) {
                        return Err(Error::new(Errno::EUCLEAN, "directory holds itself"));
                    }
                    h.unlink(dir, &child)?;
                    h.modify(&place.buffer, place.seal, offset..offset + 4, |bytes| put32(bytes, 0, 0));
                }
                Ok(())
            })?;
        }
        dir.staged.store(false, Ordering::Relaxed);
        Ok(())
    }
}
