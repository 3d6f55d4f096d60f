//! Growing an htree: leaves are split, index nodes too, and the first full block of a directory becomes its root.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::sort;
use vfs::{Errno, Error, FileType, Result};

use super::block::{self as entries, Entries, entry_size};
use super::index::{Frame, INDEX_ENTRY, IndexPath, NODE_ENTRIES, ROOT_ENTRIES, ROOT_INFO, Target};
use super::linear::DirBlock;
use super::names::Vacancy;
use crate::bytes::{put16, put32};
use crate::hash::NameHash;
use crate::inode::Inode;
use crate::inode::record::flag;
use crate::transaction::{Handle, Seal};

/// Splits that one insertion may need: leaf, node, a second level, and the same once more for colliding hashes.
const MAX_SPLITS: usize = 8;

/// An entry on its way to another block.
struct Moved {
    hash: NameHash,
    ino: u32,
    kind: u8,
    name: Vec<u8>,
}

impl Handle<'_> {
    /// Inserts an entry into a directory that has no such name, where it was seen to fit if it was.
    pub(crate) fn insert(
        &mut self,
        dir: &Arc<Inode>,
        name: &[u8],
        vacancy: Option<Vacancy>,
        inode: &Inode,
    ) -> Result<()> {
        let (ino, kind) = (inode.ino, inode.kind);
        // What goes to the disk with this entry must go with an fsync of the directory.
        self.touch_data(dir)?;
        self.fs.missed.lock().forget();
        if let Some(Vacancy { block, offset }) = vacancy {
            let place = self.fs.dir_block(dir, block)?;
            // It is not there any more where a corrupt medium has the block in a file, too.
            if self.insert_at(&place, offset, name, ino, kind) {
                return Ok(());
            }
        }
        if self.fs.is_indexed(dir) {
            return self.insert_indexed(dir, name, ino, kind);
        }
        if self.fs.dir_blocks(dir) == 1 && self.fs.geometry.features.has_dir_index() {
            let place = self.fs.dir_block(dir, 0)?;
            if self.insert_in_block(&place, name, ino, kind)? {
                return Ok(());
            }
            self.start_index(dir, &place)?;
            return self.insert_indexed(dir, name, ino, kind);
        }
        self.insert_linear(dir, name, ino, kind)
    }

    fn insert_indexed(&mut self, dir: &Arc<Inode>, name: &[u8], ino: u32, kind: FileType) -> Result<()> {
        for _ in 0..MAX_SPLITS {
            let path = self.fs.index_path(dir, Target::Name(name))?;
            let Some(leaf) = path.leaf() else { break };
            let place = self.fs.dir_block(dir, leaf)?;
            if self.insert_in_block(&place, name, ino, kind)? {
                return Ok(());
            }
            match path.frames.last() {
                Some(frame) if frame.count < frame.limit => self.split_leaf(dir, &path, &place)?,
                _ => self.split_index(dir, &path)?,
            }
        }
        Err(Error::new(Errno::ENOSPC, "directory index full"))
    }

    /// Moves the entries with the greater hashes of a leaf to a new one.
    fn split_leaf(&mut self, dir: &Arc<Inode>, path: &IndexPath, place: &DirBlock) -> Result<()> {
        let mut all = self.collect(place, |name| path.hasher.hash(name))?;
        sort::by_key(&mut all, |entry| entry.hash.major);
        // From the end, as many as fill half a block.
        let half = self.fs.geometry.block_size / 2;
        let mut size = 0;
        let mut at = all.len();
        while at > 0 {
            size += entry_size(all[at - 1].name.len());
            if size > half && at < all.len() {
                break;
            }
            at -= 1;
        }
        let at = at.max(1);
        if at >= all.len() {
            return Err(Error::new(Errno::ENOSPC, "directory block cannot be split"));
        }
        let first = all[at].hash.major;
        // An odd hash tells that the leaf before holds names of the same hash.
        let first = first | u32::from(all[at - 1].hash.major == first);
        let upper = all.split_off(at);
        let right = self.append_dir_block(dir, Seal::Directory(dir.seed))?;
        self.write_moved(&right, &upper);
        self.write_moved(place, &all);
        let Some(frame) = path.frames.last() else { return Ok(()) };
        self.insert_in_frame(frame, first, right.block);
        Ok(())
    }

    fn collect(&self, place: &DirBlock, hash: impl Fn(&[u8]) -> NameHash) -> Result<Vec<Moved>> {
        let bytes = place.buffer.read();
        let mut all = Vec::new();
        for entry in Entries::new(&bytes[..self.fs.entries_end()]) {
            let entry = entry.map_err(|error| self.fs.failed(error))?;
            if entry.ino != 0 && !(place.block == 0 && entry.is_dot()) {
                all.push(Moved { hash: hash(entry.name), ino: entry.ino, kind: entry.kind, name: entry.name.to_vec() });
            }
        }
        Ok(all)
    }

    fn write_moved(&mut self, place: &DirBlock, moved: &[Moved]) {
        self.write_entries(place, moved.iter().map(|entry| (entry.ino, entry.kind, &entry.name[..])));
    }

    /// Puts an entry behind the one that the path took.
    fn insert_in_frame(&mut self, frame: &Frame, hash: u32, block: u32) {
        let at = frame.entries + (frame.slot + 1) * INDEX_ENTRY;
        let end = frame.entries + frame.count * INDEX_ENTRY;
        let range = frame.entries..end + INDEX_ENTRY;
        let base = frame.entries;
        self.modify(&frame.place.buffer, frame.place.seal, range, |bytes| {
            bytes.copy_within(at - base..end - base, at - base + INDEX_ENTRY);
            put32(bytes, at - base, hash);
            put32(bytes, at - base + 4, block);
            put16(bytes, 2, frame.count as u16 + 1);
        });
    }

    /// Makes room in the last index block of a path.
    fn split_index(&mut self, dir: &Arc<Inode>, path: &IndexPath) -> Result<()> {
        match &path.frames[..] {
            [root] => {
                // The root's entries move one level down.
                let all = self.index_entries(root, 0);
                let node = self.new_index_node(dir, &all)?;
                let base = ROOT_INFO;
                let end = root.entries + root.count * INDEX_ENTRY;
                self.modify(&root.place.buffer, root.place.seal, base..end, |bytes| {
                    bytes[6] = 1;
                    bytes[ROOT_ENTRIES - base..].fill(0);
                    put16(bytes, ROOT_ENTRIES - base, root.limit as u16);
                    put16(bytes, ROOT_ENTRIES - base + 2, 1);
                    put32(bytes, ROOT_ENTRIES - base + 4, node.block);
                });
                Ok(())
            }
            [root, node] if root.count < root.limit => {
                let at = node.count / 2;
                let hash = node.hash(at);
                let upper = self.index_entries(node, at);
                let right = self.new_index_node(dir, &upper)?;
                let base = node.entries;
                let end = base + node.count * INDEX_ENTRY;
                self.modify(&node.place.buffer, node.place.seal, base..end, |bytes| {
                    bytes[at * INDEX_ENTRY..].fill(0);
                    put16(bytes, 2, at as u16);
                });
                self.insert_in_frame(root, hash, right.block);
                Ok(())
            }
            _ => Err(Error::new(Errno::ENOSPC, "directory index full")),
        }
    }

    /// The entries of an index block from `from` on.
    fn index_entries(&self, frame: &Frame, from: usize) -> Vec<(u32, u32)> {
        (from..frame.count).map(|slot| (frame.hash(slot), frame.block(slot))).collect()
    }

    fn new_index_node(&mut self, dir: &Arc<Inode>, all: &[(u32, u32)]) -> Result<DirBlock> {
        let place = self.append_dir_block(dir, Seal::IndexNode(dir.seed))?;
        let limit = Frame::limit(self.fs, NODE_ENTRIES);
        let size = self.fs.geometry.block_size;
        self.modify(&place.buffer, place.seal, 0..size, |bytes| {
            put16(bytes, 4, size as u16);
            put_index(&mut bytes[NODE_ENTRIES..], limit, all);
        });
        Ok(place)
    }

    /// Turns a directory of one full block into an htree of a root and a leaf.
    fn start_index(&mut self, dir: &Arc<Inode>, place: &DirBlock) -> Result<()> {
        let hasher = self.fs.geometry.hasher;
        let moved = self.collect(place, |name| hasher.hash(name))?;
        let (dot, dotdot) = {
            let bytes = place.buffer.read();
            let mut all = Entries::new(&bytes[..self.fs.entries_end()]);
            match (all.next(), all.next()) {
                (Some(Ok(dot)), Some(Ok(dotdot))) if dot.name == b"." && dotdot.name == b".." => (dot.ino, dotdot.ino),
                _ => return Err(self.fs.corrupt("ext4: directory without . and ..")),
            }
        };
        let leaf = self.append_dir_block(dir, Seal::Directory(dir.seed))?;
        self.write_moved(&leaf, &moved);
        let size = self.fs.geometry.block_size;
        let limit = Frame::limit(self.fs, ROOT_ENTRIES);
        let kind = self.kind_to_disk(FileType::Dir);
        self.modify(&place.buffer, Seal::IndexRoot(dir.seed), 0..size, |bytes| {
            bytes.fill(0);
            entries::put_entry(bytes, dot, 12, kind, b".");
            entries::put_entry(&mut bytes[12..], dotdot, size - 12, kind, b"..");
            bytes[ROOT_INFO + 4] = hasher.version.to_disk();
            bytes[ROOT_INFO + 5] = 8;
            put_index(&mut bytes[ROOT_ENTRIES..], limit, &[(0, leaf.block)]);
        });
        self.update(dir, |record| record.flags |= flag::INDEX)
    }
}

/// Writes the counts and entries of an index block. The hash of the first entry has no place.
fn put_index(area: &mut [u8], limit: usize, all: &[(u32, u32)]) {
    for (i, &(hash, block)) in all.iter().enumerate() {
        put32(area, i * INDEX_ENTRY, hash);
        put32(area, i * INDEX_ENTRY + 4, block);
    }
    put16(area, 0, limit as u16);
    put16(area, 2, all.len() as u16);
}
