//! Cuts, and growth without a write.
//!
//! A file with a large map is cut in many handles. The first one sets the size and puts the inode on the orphan list; until the
//! last one has taken it off, [`Inode::cut`] says from where on blocks are still to be freed. Whoever would write to the
//! file meanwhile, for another thread is at it or a step failed, finishes the cut first.
//!
//! A cut in the middle of a block does not change the block before the commit: until then the file is as it was, its last bytes
//! included. The bytes behind the new end are made zero after it ([`Ext4::zero_cut_tails`]); who grows the file before that has it
//! committed first ([`Handle::check_growth`]). Without a journal they are made zero at once.
//!
//! Bytes of the last block behind the end of a file are made zero when it grows past them: after a crash they may be what was
//! written there and never became part of the file.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use vfs::{Errno, Error, Result};

use super::write::CREDITS;
use crate::extent::{Mapping, Progress, State};
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

    /// Makes what lies behind the ends of files zero, whose cuts are committed. What cannot be, for the disk fails, is made so when they
    /// grow.
    pub(crate) fn zero_cut_tails(&self, inodes: Vec<Arc<Inode>>) {
        for inode in inodes {
            let size = inode.record.read().size;
            let _ = self.zero_rest(&inode, size);
        }
    }

    /// Makes the rest of the block in which a file ends zero.
    fn zero_rest(&self, inode: &Inode, size: u64) -> Result<()> {
        self.zero_bytes(inode, size, size.next_multiple_of(self.geometry.block_size as u64))
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
        self.check_room()?;
        // Last, for file data has no way back: nothing fails behind the zeros.
        let block_end = len.next_multiple_of(1 << bits);
        if len < size && self.is_committed_content(inode, len)? {
            inode.cut_transaction.store(self.core.transaction.id, Ordering::Relaxed);
            self.core.transaction.cut_tails.push(inode.clone());
        } else {
            self.fs.zero_bytes(inode, len, block_end.min(size))?;
        }
        if len <= size {
            self.fs.drop_delayed(self.core, inode, from);
        }
        if progress == Progress::More {
            *inode.cut.lock() = Some(from);
        }
        Ok(progress)
    }

    /// Whether the block with the byte `at`, not its first one, is what a power cut would leave to a file whose end is there or behind.
    fn is_committed_content(&self, inode: &Inode, at: u64) -> Result<bool> {
        if at.is_multiple_of(self.fs.geometry.block_size as u64) || self.core.journal.is_none() {
            return Ok(false);
        }
        let block = (at >> self.fs.geometry.block_bits) as u32;
        Ok(match self.fs.map_file(inode, block)? {
            Mapping::Blocks { start, state: State::Written, .. } => !self.core.transaction.is_fresh(start),
            _ => false,
        })
    }

    /// To be asked before a file gets content behind its end: fails, for all before to be committed first, where the running transaction
    /// cut off what was there.
    pub(super) fn check_growth(&mut self, inode: &Inode) -> Result<()> {
        let cut = inode.cut_transaction.load(Ordering::Relaxed) == self.core.transaction.id;
        if cut { Err(self.refuse()) } else { Ok(()) }
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
    pub(crate) fn zero_tail(&mut self, inode: &Inode, size: u64) -> Result<()> {
        self.check_growth(inode)?;
        self.fs.zero_rest(inode, size)
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
