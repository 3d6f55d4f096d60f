//! Regular files: the contract's operations over [`Content`], with times.
//!
//! A writer holds the content's lock over data and times, so a reader or a `stat` sees a write wholly or not at all.

use vfs::{AllocateMode, FileOps, OpenIntent, Result};

use crate::content::{Content, Data};
use crate::inode::Inode;
use crate::space::Quota;

impl Inode<Content> {
    /// Changes the content, and the times if that succeeds.
    fn change<R>(&self, act: impl FnOnce(&mut Data, &Quota) -> Result<R>) -> Result<R> {
        let shared = &self.core.shared;
        let mut data = self.body.data.write();
        let result = act(&mut data, &shared.bytes)?;
        self.core.content_changed(shared.now());
        Ok(result)
    }
}

impl FileOps for Inode<Content> {
    fn prepare_open(&self, intent: OpenIntent) -> Result<()> {
        match intent {
            OpenIntent::Read | OpenIntent::Write => Ok(()),
            OpenIntent::Truncate => self.set_len(0),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        Ok(self.body.data.read().read(offset, buf))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        self.change(|content, space| content.write(offset, data, space))
    }

    fn append(&self, data: &[u8]) -> Result<(u64, usize)> {
        if data.is_empty() {
            return Ok((self.body.data.read().size(), 0));
        }
        self.change(|content, space| {
            let offset = content.size();
            Ok((offset, content.write(offset, data, space)?))
        })
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.change(|content, space| content.set_len(len, space))
    }

    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        self.change(|content, space| content.allocate(mode, offset, len, space))
    }

    fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        Ok(self.body.data.read().seek_data(offset))
    }

    fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        Ok(self.body.data.read().seek_hole(offset))
    }
}
