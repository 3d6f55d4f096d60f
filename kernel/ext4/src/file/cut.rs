//! Cuts, and growth without a write.
//!
//! A file with a large map is cut in many handles. The first one sets the size and puts the inode on the orphan list; until the
//! last one has taken it off, [`Inode::cut`] says from where on blocks are still to be freed. Whoever would write to the
//! file meanwhile, for another thread is at it or a step failed, finishes the cut first.
//!
//! A cut in the middle of a block does not change the block on the disk: until the commit the file is as it was, its last bytes
//! included, so what is left of the block moves to a new one ([`Handle::move_tail`]). Only where there is no space for that, and
//! without a journal, are the bytes behind the end made zero in place.
//!
//! Bytes of the last block behind the end of a file are made zero when it grows past them: after a crash they may be what was
//! written there and never became part of the file.

use alloc::sync::Arc;

use block::Dirty;
use vfs::{Errno, Error, Result};

use super::write::{CREDITS, Delays};
use crate::extent::{Mapping, Progress, Removed, State};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::transaction::Handle;

impl Ext4 {
    /// Cuts or grows a file.
    pub(crate) fn set_file_len(&self, inode: &Arc<Inode>, len: u64) -> Result<()> {
        if len > self.geometry.max_file_size() {
            return Err(Error::new(Errno::EFBIG, "file size"));
        }
        let progress = self.transact_on_whole(CREDITS, inode, |h| h.set_len(inode, len))?;
        if progress == Progress::More {
            self.finish_truncation(inode)?;
        }
        Ok(())
    }

    /// As [`transact`](Self::transact), on a file no part of which is being cut off: a cut that has not come to its end, for
    /// it failed or another thread is at it, is finished first. So what is written behind it is not freed, and what was
    /// there before does not come back.
    pub(crate) fn transact_on_whole<T>(
        &self,
        credits: usize,
        inode: &Arc<Inode>,
        mut body: impl FnMut(&mut Handle<'_>) -> Result<T>,
    ) -> Result<T> {
        loop {
            let result = self.transact(credits, &[inode], |h| match inode.is_being_cut() {
                true => Ok(None),
                false => body(h).map(Some),
            })?;
            match result {
                Some(result) => return Ok(result),
                None => self.finish_truncation(inode)?,
            }
        }
    }

    /// Goes on freeing what lies behind a file's end; the inode is on the orphan list until it is done.
    fn finish_truncation(&self, inode: &Arc<Inode>) -> Result<()> {
        while self.transact(CREDITS, &[inode], |h| h.truncate_step(inode))? == Progress::More {}
        Ok(())
    }
}

impl Handle<'_> {
    fn set_len(&mut self, inode: &Arc<Inode>, len: u64) -> Result<Progress> {
        let size = inode.record.read().size;
        let bits = self.fs.geometry.block_bits;
        let now = self.now;
        let from = len.div_ceil(1 << bits).min(u64::from(u32::MAX)) as u32;
        let mut progress = Progress::Done;
        self.touch_data(inode)?;
        if len <= size {
            self.ensure_extents(inode)?;
            progress = self.truncate_blocks(inode, from)?;
            crate::space::window::discard(self.fs, self.core, inode.ino);
        } else {
            self.zero_tail(inode, size)?;
        }
        self.update(inode, |record| {
            record.size = len;
            record.mtime = now;
            record.ctime = now;
        })?;
        if progress == Progress::More {
            self.add_orphan(inode)?;
        }
        let moved = len < size && self.move_tail(inode, len)?;
        self.check_room()?;
        if !moved {
            // Last, for file data has no way back: nothing fails behind the zeros.
            let block_end = len.next_multiple_of(1 << bits);
            self.zero_bytes(inode, len, block_end.min(size))?;
        }
        if len <= size {
            self.fs.drop_delayed(self.core, inode, from);
        }
        if progress == Progress::More {
            *inode.cut.lock() = Some(from);
        }
        Ok(progress)
    }

    /// Has the block in which the file will end, at `len`, wait for a new place, with zeros behind the end. Whether it does: a block that is
    /// in no committed file, or has zeros there anyway, need not; and one for which there is no space cannot.
    fn move_tail(&mut self, inode: &Arc<Inode>, len: u64) -> Result<bool> {
        let block = (len >> self.fs.geometry.block_bits) as u32;
        let within = len as usize & (self.fs.geometry.block_size - 1);
        if within == 0 || self.core.journal.is_none() || !inode.record.read().uses_extents() {
            return Ok(false);
        }
        let Mapping::Blocks { start, state: State::Written, .. } = self.fs.map_file(inode, block)? else {
            return Ok(false);
        };
        let old = self.fs.cache.read(start)?;
        let is_zero = old.read()[within..].iter().all(|&byte| byte == 0);
        if is_zero || self.core.transaction.is_fresh(start) || self.delays(inode, 1)? == Delays::No {
            return Ok(false);
        }
        self.check_placing(inode, 1, 1)?;
        self.remap(inode, block, u64::from(block) + 1, None, Removed::Free)?;
        self.check_room()?;
        let new = self.fs.cache.create(Ext4::unplaced(inode, block))?;
        self.fs.cache.write(&new, Dirty::Held)[..within].copy_from_slice(&old.read()[..within]);
        self.delay(inode, block, 1);
        Ok(true)
    }

    /// One step of freeing what lies behind the end of a file that [is being cut](Inode::cut), if it is.
    pub(crate) fn truncate_step(&mut self, inode: &Arc<Inode>) -> Result<Progress> {
        let Some(from) = *inode.cut.lock() else { return Ok(Progress::Done) };
        let progress = self.truncate_blocks(inode, from)?;
        if progress == Progress::Done {
            // What has no name is on the list for that.
            if !inode.is_nameless() {
                self.remove_orphan(inode)?;
            }
            *inode.cut.lock() = None;
        }
        Ok(progress)
    }

    /// Makes the rest of the block in which a file of `size` bytes ends zero, before the file grows past it. It may hold what
    /// a crash left of data that was written there, or what another system did not clear.
    pub(crate) fn zero_tail(&self, inode: &Inode, size: u64) -> Result<()> {
        self.zero_bytes(inode, size, size.next_multiple_of(self.fs.geometry.block_size as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use base::time::Timestamp;
    use block::MemoryDisk;
    use vfs::{FileSystem, FsContext};

    use super::super::Position;
    use super::*;
    use crate::format::{FormatOptions, format};
    use crate::{MountOptions, inode::table::ROOT_INO};

    const NOW: Timestamp = Timestamp { secs: 1_800_000_000, nanos: 5 };

    fn mount(disk: Arc<MemoryDisk>) -> Arc<Ext4> {
        let context = FsContext { dev: 1, clock: Arc::new(|| NOW) };
        Ext4::mount(disk, context, MountOptions::default()).unwrap()
    }

    fn disk() -> Arc<MemoryDisk> {
        let disk = MemoryDisk::new(24 << 20);
        let options = FormatOptions { block_size: 1024, ..FormatOptions::new([0x5a; 32], NOW) };
        format(&disk, &options).unwrap();
        Arc::new(disk)
    }

    /// The file `name` with more leaves than one handle empties.
    fn scattered(fs: &Ext4, name: &[u8]) -> Arc<Inode> {
        let root = fs.inode(ROOT_INO).unwrap();
        let inode = fs.create(&root, name, &vfs::NewNode::new(vfs::NewKind::File, 0o644)).unwrap().inode.clone();
        for block in 0..3000 {
            fs.write_file(&inode, Position::At(block * 2048), &[1]).unwrap();
        }
        fs.sync().unwrap();
        inode
    }

    /// Cuts as far as one handle does: as if another thread came in between, or the second one failed.
    fn begin_cut(fs: &Ext4, inode: &Arc<Inode>) {
        let progress = fs.transact(CREDITS, &[inode], |h| h.set_len(inode, 0)).unwrap();
        assert_eq!(progress, Progress::More);
    }

    #[test]
    fn what_was_cut_off_does_not_come_back_when_the_file_grows_before_the_last_step() {
        let grow: [fn(&Ext4, &Arc<Inode>); 3] = [
            |fs, inode| fs.set_file_len(inode, 1 << 30).unwrap(),
            |fs, inode| assert_eq!(fs.write_file(inode, Position::At(1 << 30), b"far").unwrap().1, 3),
            |fs, inode| fs.allocate_file(inode, vfs::AllocateMode::Extend, 1 << 30, 1024).unwrap(),
        ];
        let disk = disk();
        let fs = mount(disk.clone());
        let inode = scattered(&fs, b"f");
        begin_cut(&fs, &inode);
        fs.sync().unwrap();
        for (at, grow) in grow.into_iter().enumerate() {
            // A mount finishes the cut itself; the first way is tried on what runs.
            let name = [b'a' + at as u8];
            let inode = if at == 0 { inode.clone() } else { scattered(&fs, &name) };
            if at != 0 {
                begin_cut(&fs, &inode);
            }
            grow(&fs, &inode);
            assert_eq!(fs.core.lock().orphans.len(), 0);
            let mut content: Vec<u8> = std::vec![7; 3 << 21];
            fs.read_file(&inode, 0, &mut content).unwrap();
            assert!(content.iter().all(|&byte| byte == 0), "way {at}");
        }
    }

    #[test]
    fn a_file_that_is_removed_while_it_is_cut_is_freed_once() {
        let disk = disk();
        let fs = mount(disk.clone());
        let free = |fs: &Ext4| {
            fs.sync().unwrap();
            let stat = fs.statfs().unwrap();
            (stat.blocks_free, stat.files_free)
        };
        let before = free(&fs);
        let root = fs.inode(ROOT_INO).unwrap();
        let inode = scattered(&fs, b"f");
        begin_cut(&fs, &inode);
        fs.sync().unwrap();
        assert_eq!(fs.core.lock().orphans.len(), 1);
        drop(inode);
        fs.remove(&root, b"f", vfs::Expect::NonDir).unwrap();
        assert_eq!(fs.core.lock().orphans.len(), 0);
        assert_eq!(free(&fs), before);
        let image = disk.to_image();
        drop(fs);
        let fs = mount(Arc::new(MemoryDisk::from_image(&image)));
        assert!(!fs.is_read_only());
        assert_eq!(free(&fs), before);
    }
}
