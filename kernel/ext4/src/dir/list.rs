//! Reading a directory in an order that survives its change.
//!
//! With `dir_index`, entries come in order of their hashes, whether the directory has an index yet or not, and a cookie is a
//! hash: wherever splits move an entry, its hash stays. A directory of several blocks without index is read in order of
//! place, for entries there never move.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use base::sort;
use vfs::{Cookie, DirEntry, DirSink, FileType, Name, Result};

use super::block::{self as entries, Entries};
use super::index::Target;
use crate::fs::Ext4;
use crate::hash::Hasher;
use crate::inode::Inode;

/// Leaves that share hashes and are read together at most.
const MAX_TOGETHER: usize = 64;

/// An entry with the cookie behind it.
struct Item {
    key: u64,
    ino: u32,
    kind: Option<FileType>,
    name: Vec<u8>,
}

/// The cookie of a hash: 31 bits of the major part that sorts the index, 31 of the minor, off the reserved ones.
fn key(hasher: &Hasher, name: &[u8]) -> u64 {
    let hash = hasher.hash(name);
    (u64::from(hash.major >> 1) << 32 | u64::from(hash.minor)) + Cookie::FIRST
}

/// The first major hash whose entries may lie behind a cookie.
fn major(cookie: Cookie) -> u32 {
    ((cookie.0.saturating_sub(Cookie::FIRST) >> 32) as u32) << 1
}

impl Ext4 {
    /// Gives `sink` the entries behind a cookie.
    pub(crate) fn list(&self, dir: &Inode, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        let _content = dir.content.read();
        if self.is_indexed(dir) {
            return self.list_indexed(dir, from, sink);
        }
        let blocks = self.dir_blocks(dir);
        if self.geometry.features.has_dir_index() && blocks <= 1 {
            let mut items = Vec::new();
            if blocks == 1 {
                self.collect_block(dir, 0, &self.geometry.hasher, from, &mut items)?;
            }
            return self.give(items, sink).map(drop);
        }
        self.list_linear(dir, blocks, from, sink)
    }

    fn list_indexed(&self, dir: &Inode, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        let mut path = self.index_path(dir, Target::Hash(major(from)))?;
        let hasher = path.hasher;
        let mut items = Vec::new();
        let mut together = 0;
        while let Some(leaf) = path.leaf() {
            self.check_leaf(dir, leaf)?;
            self.collect_block(dir, leaf, &hasher, from, &mut items)?;
            let next = path.advance(self, dir)?;
            // An odd hash: the next leaf has more names of this leaf's last hash, to be sorted among them.
            together += 1;
            if next.is_some_and(|hash| hash & 1 == 1) && together < MAX_TOGETHER {
                continue;
            }
            together = 0;
            if self.give(core::mem::take(&mut items), sink)?.is_break() || next.is_none() {
                return Ok(());
            }
        }
        self.give(items, sink).map(drop)
    }

    fn collect_block(
        &self,
        dir: &Inode,
        block: u32,
        hasher: &Hasher,
        from: Cookie,
        items: &mut Vec<Item>,
    ) -> Result<()> {
        let place = self.dir_block(dir, block)?;
        let bytes = place.buffer.read();
        for entry in Entries::new(&bytes[..self.entries_end()]) {
            let entry = entry.map_err(|error| self.failed(error))?;
            if entry.ino == 0 || entry.is_dot() {
                continue;
            }
            let key = key(hasher, entry.name);
            if key > from.0 {
                items.push(Item {
                    key,
                    ino: entry.ino,
                    kind: entries::kind_from_disk(entry.kind),
                    name: entry.name.to_vec(),
                });
            }
        }
        Ok(())
    }

    fn give(&self, mut items: Vec<Item>, sink: &mut dyn DirSink) -> Result<ControlFlow<()>> {
        sort::by(&mut items, |a, b| (a.key, &a.name) < (b.key, &b.name));
        for item in &items {
            if self.give_one(&item.name, item.ino, item.kind, Cookie(item.key), sink)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn give_one(
        &self,
        name: &[u8],
        ino: u32,
        kind: Option<FileType>,
        next: Cookie,
        sink: &mut dyn DirSink,
    ) -> Result<ControlFlow<()>> {
        let Ok(name) = Name::new(name) else {
            return Err(self.corrupt("ext4: impossible name in a directory"));
        };
        let kind = match kind {
            Some(kind) => kind,
            None => self.linked_inode(ino)?.kind,
        };
        Ok(sink.entry(&DirEntry { name, ino: u64::from(ino), kind, next }))
    }

    fn list_linear(&self, dir: &Inode, blocks: u32, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        let bits = self.geometry.block_bits;
        let start = from.0.saturating_sub(Cookie::FIRST);
        for block in (start >> bits).min(u64::from(blocks)) as u32..blocks {
            let place = self.dir_block(dir, block)?;
            let bytes = place.buffer.read();
            for entry in Entries::new(&bytes[..self.entries_end()]) {
                let entry = entry.map_err(|error| self.failed(error))?;
                let at = (u64::from(block) << bits) + entry.offset as u64;
                if entry.ino == 0 || entry.is_dot() || at < start {
                    continue;
                }
                // Behind this entry: any place past where it begins.
                let next = Cookie(at + 1 + Cookie::FIRST);
                let kind = entries::kind_from_disk(entry.kind);
                if self.give_one(entry.name, entry.ino, kind, next, sink)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
