//! The mounted archive as a whole.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use vfs::{DirOps, FileHandle, FileSystem, FsContext, NAME_MAX, Node, Result, StatFs};

use crate::archive::{Archive, check_rest, next_archive};
use crate::error::TarError;
use crate::header::BLOCK;
use crate::index::Index;
use crate::node::{self, DirNode};
use crate::place::{Placed, place_all};
use crate::record::{InodeIndex, ROOT};

/// `f_type` of this filesystem: "tarf". Linux has no number for one.
pub const MAGIC: u64 = 0x7461_7266;

/// `FILEID_INO32_GEN` of `<linux/exportfs.h>`: inode number and generation, 32 bits each.
const HANDLE_KIND: u8 = 1;

/// How the names of an archive are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layer {
    /// As they are.
    #[default]
    Plain,
    /// As those of an OCI image layer: `.wh.NAME` becomes a whiteout (character device 0/0) called `NAME`, and
    /// `.wh..wh..opq` gives its directory the attribute `trusted.overlay.opaque`. Neither name is ever shown.
    Oci,
}

/// What a mount is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MountOptions {
    /// How names are taken.
    pub layer: Layer,
}

impl MountOptions {
    /// The options of an OCI image layer.
    #[must_use]
    pub const fn oci() -> Self {
        Self { layer: Layer::Oci }
    }
}

/// What a mount cost and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the archive.
    pub archive_bytes: usize,
    /// Bytes of memory that the index takes.
    pub index_bytes: usize,
    /// Inodes, the root included.
    pub inodes: usize,
    /// Directory entries.
    pub entries: usize,
    /// Members that found no place in the tree. Each of the first was logged with the reason.
    pub left_out: u32,
}

/// What all nodes of a mount share. Nothing in it changes.
pub(crate) struct Core {
    pub(crate) archive: Archive,
    pub(crate) index: Index,
    pub(crate) dev: u64,
    pub(crate) generation: u32,
}

/// A mounted archive.
pub struct TarFs {
    core: Arc<Core>,
    uuid: [u8; 16],
    left_out: u32,
    len: usize,
}

impl TarFs {
    /// Mounts an archive, which must end where its bytes do.
    ///
    /// # Errors
    /// Where in the archive what is wrong.
    pub fn mount(
        archive: impl Into<Archive>,
        context: &FsContext,
        options: MountOptions,
    ) -> Result<Arc<Self>, TarError> {
        let archive = archive.into();
        let placed = place_all(archive.bytes(), 0, options.layer)?;
        check_rest(archive.bytes(), placed.end)?;
        let len = archive.bytes().len();
        Ok(Arc::new(Self::new(archive, placed, len, context, options)))
    }

    /// Mounts every archive of a concatenation, in its order, and asks `context` for the device of each.
    ///
    /// The same as [`split`](crate::split) and then [`mount`](Self::mount), with one look at each header instead of two;
    /// offsets in errors and messages count from the start of the concatenation.
    ///
    /// # Errors
    /// Where in the concatenation what is wrong; then none is mounted.
    pub fn mount_all(
        archives: impl Into<Archive>,
        mut context: impl FnMut(usize) -> FsContext,
        options: MountOptions,
    ) -> Result<Vec<Arc<Self>>, TarError> {
        let archive: Archive = archives.into();
        let mut mounted = Vec::new();
        let mut start = Some(0);
        while let Some(begin) = start {
            let placed = place_all(archive.bytes(), begin, options.layer)?;
            start = next_archive(archive.bytes(), placed.end)?;
            let len = start.unwrap_or(archive.bytes().len()) - begin;
            let context = context(mounted.len());
            mounted.try_reserve(1).map_err(crate::error::no_memory(begin))?;
            mounted.push(Arc::new(Self::new(archive.clone(), placed, len, &context, options)));
        }
        Ok(mounted)
    }

    fn new(archive: Archive, placed: Placed, len: usize, context: &FsContext, options: MountOptions) -> Self {
        let Placed { index, left_out, mut fingerprint, .. } = placed;
        // The option decides what is seen, and so which inode has which number.
        fingerprint.absorb_word(match options.layer {
            Layer::Plain => 0,
            Layer::Oci => 1,
        });
        let [first, second] = fingerprint.finish();
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&first.to_be_bytes());
        uuid[8..].copy_from_slice(&second.to_be_bytes());
        // RFC 9562: version 8, of the maker's own definition; the variant of that document.
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        let core = Core { archive, index, dev: context.dev, generation: second as u32 };
        Self { core: Arc::new(core), uuid, left_out, len }
    }

    /// What the mount cost and found.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (inodes, entries) = self.core.index.counts();
        Stats {
            archive_bytes: self.len,
            index_bytes: self.core.index.memory(),
            inodes,
            entries,
            left_out: self.left_out,
        }
    }
}

impl FileSystem for TarFs {
    fn type_name(&self) -> &'static str {
        "tarfs"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        Arc::new(DirNode::new(self.core.clone(), ROOT))
    }

    fn statfs(&self) -> Result<StatFs> {
        let (inodes, _) = self.core.index.counts();
        Ok(StatFs {
            magic: MAGIC,
            block_size: BLOCK as u32,
            blocks: self.len.div_ceil(BLOCK) as u64,
            blocks_free: 0,
            blocks_available: 0,
            files: inodes as u64,
            files_free: 0,
            name_max: NAME_MAX as u32,
            id: u64::from_be_bytes(*self.uuid.first_chunk().unwrap_or(&[0; 8])),
        })
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    fn node_by_handle(&self, handle: &FileHandle) -> Result<Option<Node>> {
        let (HANDLE_KIND, Some((number, generation))) = (handle.kind, handle.bytes.split_first_chunk::<4>()) else {
            return Ok(None);
        };
        if generation != self.core.generation.to_le_bytes() {
            return Ok(None);
        }
        let index = self.core.index.by_number(u64::from(u32::from_le_bytes(*number)));
        Ok(index.map(|index| node::node(&self.core, index)))
    }
}

impl Core {
    /// The handle of an inode: its number and the archive's generation, so that one of another archive is not taken.
    pub(crate) fn handle(&self, index: InodeIndex) -> FileHandle {
        let mut bytes = Vec::with_capacity(8);
        // Inode numbers fit: the arena keeps the last ones free.
        bytes.extend_from_slice(&(index.0 + 1).to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        FileHandle { kind: HANDLE_KIND, bytes: Box::from(bytes) }
    }
}
