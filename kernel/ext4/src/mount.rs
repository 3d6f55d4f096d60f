//! Mounting: the medium is checked, its journal replayed, its orphans freed; and probing, which looks only.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use block::{BlockDevice, BufferCache, SECTOR_SIZE};
use vfs::{FsContext, Result};

use crate::bytes::{le16, le32, le64, put8, put16, put32};
use crate::error::MountError;
use crate::features::{Compat, Incompat, RoCompat};
use crate::format::{is_blank, mark};
use crate::fs::{Ext4, Parts};
use crate::group::{self, Descriptor, Group, SystemZones};
use crate::health::Health;
use crate::inode::table::ROOT_INO;
use crate::journal;
use crate::options::{COMMIT_INTERVAL, Discard, MountMode, MountOptions};
use crate::superblock::{Geometry, STATE_ERROR, STATE_VALID, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, field};
use crate::torn;
use crate::transaction::Core;

/// How strictly group descriptors are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Descriptors {
    Checked,
    /// Before the journal is replayed they may be half written.
    BeforeReplay,
}

impl Ext4 {
    /// Mounts the filesystem on `device`.
    ///
    /// # Errors
    /// See [`MountError`]; it says what is wrong in words.
    pub fn mount(
        device: Arc<dyn BlockDevice>,
        context: FsContext,
        options: MountOptions,
    ) -> Result<Arc<Self>, MountError> {
        let Sound { raw, geometry, torn } = read_sound(&*device)?;
        if torn {
            if device.capabilities().read_only {
                return Err(MountError::Checksum("the superblock"));
            }
            log::warn!("ext4: the superblock was torn by a power cut and agrees with its copies: it is written anew");
            device.write(SUPERBLOCK_OFFSET / SECTOR_SIZE as u64, &raw)?;
            device.flush()?;
        }
        if geometry.features.incompat.contains(Incompat::RECOVER) {
            if device.capabilities().read_only {
                return Err(MountError::Journal("the disk is read-only"));
            }
            let fs = Self::open(device.clone(), context.clone(), options, &raw, Descriptors::BeforeReplay)?;
            journal::recover(&fs)?;
        }
        let raw = read_superblock(&*device)?;
        let fs = Self::open(device, context, options, &raw, Descriptors::Checked)?;
        let root = fs.inode(ROOT_INO).map_err(|_| MountError::Corrupt("the root directory"))?;
        if !root.is_dir() || root.record.read().links == 0 {
            return Err(MountError::Corrupt("the root directory"));
        }
        fs.root.call_once(|| root);
        fs.count_journal();
        if fs.health.is_writable() {
            fs.begin(&raw)?;
        }
        Ok(fs)
    }

    fn open(
        device: Arc<dyn BlockDevice>,
        context: FsContext,
        options: MountOptions,
        raw: &[u8; SUPERBLOCK_SIZE],
        strict: Descriptors,
    ) -> Result<Arc<Self>, MountError> {
        let geometry = Geometry::parse(raw)?;
        let capabilities = device.capabilities();
        let device_blocks = capabilities.sectors / (geometry.block_size / SECTOR_SIZE) as u64;
        if geometry.blocks > device_blocks {
            return Err(MountError::DeviceTooSmall { filesystem: geometry.blocks, device: device_blocks });
        }
        let mut read_only = options.mode == MountMode::ReadOnly || capabilities.read_only;
        let has_journal = geometry.features.compat.contains(Compat::HAS_JOURNAL);
        if has_journal && geometry.journal_inode == 0 && !read_only {
            log::warn!("ext4: mounted read-only: its journal is on another device");
            read_only = true;
        }
        if let Some(names) = geometry.read_only_features()
            && !read_only
        {
            log::warn!("ext4: mounted read-only for lack of support: {names}");
            read_only = true;
        }
        if !capabilities.flush && !read_only {
            log::warn!("ext4: the disk knows no flush: nothing can be promised to survive a power cut");
        }
        if options.discard == Discard::OnFree && !capabilities.discard {
            log::warn!("ext4: the disk knows no discard: the option has no effect");
        }
        let cache = BufferCache::new(device, geometry.block_size, options.cache_bytes)?;
        let groups = load_groups(&cache, &geometry, strict)?;
        let zones = SystemZones::new(&geometry, &groups);
        let tables = groups.iter().map(|group| group.desc.inode_table).collect();
        let now = context.clock.now();
        let seed = now.nanos ^ now.secs as u32 ^ le32(&geometry.uuid, 0);
        let core = Core::new(groups, seed | 1);
        let state = le16(raw, field::STATE);
        let fs = Self::assemble(Parts {
            cache,
            overhead: overhead(&geometry),
            written_before: le64(raw, field::KBYTES_WRITTEN),
            geometry,
            zones,
            tables,
            context,
            core,
            health: Health::new(read_only),
            was_clean: state & STATE_VALID != 0 && state & STATE_ERROR == 0,
            discards: options.discard == Discard::OnFree && capabilities.discard && !read_only,
            commit_interval: if options.commit_interval == 0 { COMMIT_INTERVAL } else { options.commit_interval },
        });
        Ok(fs)
    }

    /// Adds the journal to the blocks that are no file's.
    fn count_journal(&self) {
        if self.geometry.features.compat.contains(Compat::HAS_JOURNAL)
            && self.geometry.journal_inode != 0
            && self.geometry.overhead.is_none()
            && let Ok(inode) = self.inode(self.geometry.journal_inode)
        {
            let blocks = inode.record.read().size >> self.geometry.block_bits;
            self.overhead.fetch_add(blocks, Ordering::Relaxed);
        }
    }

    /// Marks the medium as in use and frees what a crash left behind.
    fn begin(&self, raw: &[u8; SUPERBLOCK_SIZE]) -> Result<(), MountError> {
        mark::clear(&**self.cache.device())?;
        if !self.was_clean {
            log::warn!("ext4: the filesystem was not unmounted cleanly or has errors: e2fsck is advised");
        }
        let last_orphan = le32(raw, field::LAST_ORPHAN);
        self.find_orphans(last_orphan);
        let has_journal = self.geometry.features.compat.contains(Compat::HAS_JOURNAL);
        let (journal, errno) = if has_journal { journal::open(self).map(Some)? } else { None }.unzip();
        {
            let now = self.context.clock.now().secs;
            let mut core = self.core.lock();
            core.journal = journal;
            self.write_superblock(&mut core, |raw| {
                // With a journal the medium is at no time other than clean, but for what the journal has.
                let mut state = le16(raw, field::STATE);
                if has_journal {
                    let incompat = le32(raw, field::FEATURE_INCOMPAT) | Incompat::RECOVER.bits();
                    put32(raw, field::FEATURE_INCOMPAT, incompat);
                } else {
                    state &= !STATE_VALID;
                }
                if errno.is_some_and(|errno| errno != 0) {
                    state |= STATE_ERROR;
                }
                put16(raw, field::STATE, state);
                let mounts = le16(raw, field::MNT_COUNT).saturating_add(1);
                put16(raw, field::MNT_COUNT, mounts);
                put32(raw, field::MTIME, now as u32);
                put8(raw, field::MTIME_HI, (now >> 32) as u8);
            })?;
        }
        self.free_orphans();
        if self.geometry.features.ro_compat.contains(RoCompat::ORPHAN_PRESENT) {
            self.empty_orphan_file();
        }
        Ok(())
    }
}

/// The primary superblock's bytes.
pub(crate) fn read_superblock(device: &dyn BlockDevice) -> Result<[u8; SUPERBLOCK_SIZE], MountError> {
    let mut raw = [0; SUPERBLOCK_SIZE];
    let sector = SUPERBLOCK_OFFSET / SECTOR_SIZE as u64;
    if device.capabilities().sectors < sector + (SUPERBLOCK_SIZE / SECTOR_SIZE) as u64 {
        return Err(MountError::NotExt4);
    }
    device.read(sector, &mut raw)?;
    Ok(raw)
}

/// A superblock that can be trusted.
struct Sound {
    raw: [u8; SUPERBLOCK_SIZE],
    geometry: Geometry,
    /// It is not on the disk as it is here.
    torn: bool,
}

/// The primary superblock, [put together](torn) if a power cut tore it.
fn read_sound(device: &dyn BlockDevice) -> Result<Sound, MountError> {
    let raw = read_superblock(device)?;
    let (raw, torn) = match Geometry::parse(&raw) {
        Err(error @ MountError::Checksum(_)) => (torn::mended(device, &raw).ok_or(error)?, true),
        _ => (raw, false),
    };
    Ok(Sound { geometry: Geometry::parse(&raw)?, raw, torn })
}

/// Reads and checks all group descriptors.
fn load_groups(cache: &BufferCache, geometry: &Geometry, strict: Descriptors) -> Result<Vec<Group>, MountError> {
    let mut groups = Vec::new();
    groups.try_reserve_exact(geometry.groups as usize).map_err(|_| MountError::Corrupt("number of groups"))?;
    let (first, _) = geometry.desc_location(0);
    // The table is in one piece but for meta groups; a failure shows again below.
    let _ = cache.fill(&[(first, geometry.desc_blocks.min(256))]);
    let mut current = None;
    for number in 0..geometry.groups {
        let (block, offset) = geometry.desc_location(number);
        if !geometry.contains(block, 1) {
            return Err(MountError::Corrupt("place of the group descriptors"));
        }
        let buffer = match current.take() {
            Some(buffer) if block::Buffer::block(&buffer) == block => buffer,
            _ => cache.read(block)?,
        };
        let desc = {
            let bytes = buffer.read();
            let raw = &bytes[offset..offset + geometry.desc_size];
            if strict == Descriptors::Checked && !group::verify(raw, geometry, number) {
                return Err(MountError::Checksum("a group descriptor"));
            }
            Descriptor::parse(raw)
        };
        current = Some(buffer);
        let placed = geometry.contains(desc.block_bitmap, 1)
            && geometry.contains(desc.inode_bitmap, 1)
            && geometry.contains(desc.inode_table, u64::from(geometry.table_blocks));
        if !placed {
            return Err(MountError::Corrupt("place of a group's bitmaps or inode table"));
        }
        if strict == Descriptors::Checked
            && (desc.free_blocks > geometry.group_blocks(number) || desc.free_inodes > geometry.inodes_per_group)
        {
            return Err(MountError::Corrupt("free counts of a group"));
        }
        groups.push(Group { desc, unavailable: None, hint: 0, longest_run: u32::MAX, dirty: false });
    }
    Ok(groups)
}

/// Blocks that are no file's, as Linux counts them for `statfs`; the journal is added when its inode is known.
fn overhead(geometry: &Geometry) -> u64 {
    if let Some(overhead) = geometry.overhead {
        return overhead;
    }
    let mut blocks = geometry.first_data_block;
    for number in 0..geometry.groups {
        let (descs, reserved) = geometry.desc_blocks_in(number);
        blocks += u64::from(geometry.has_super(number)) + u64::from(descs) + u64::from(reserved);
        blocks += u64::from(geometry.table_blocks) + 2;
    }
    blocks
}

/// What is on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Zeros wherever one looked: the device may be formatted.
    Blank,
    /// An ext2, ext3 or ext4 filesystem.
    Ext4(Info),
    /// Something else, or too damaged to tell: what was seen. Not to be touched.
    Unknown(String),
}

/// What [`probe`] tells of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// UUID.
    pub uuid: [u8; 16],
    /// Label, without trailing zeros.
    pub label: Vec<u8>,
    /// Size of a block, in bytes.
    pub block_size: u32,
    /// Blocks.
    pub blocks: u64,
    /// The journal will be replayed by a mount.
    pub needs_recovery: bool,
    /// It has a journal.
    pub has_journal: bool,
}

/// Looks at a device without changing it.
///
/// # Errors
/// `EIO`, `ENOMEM`.
pub fn probe(device: &dyn BlockDevice) -> Result<Probe> {
    if let Some(found) = recognise(device) {
        return Ok(found);
    }
    Ok(if is_blank(device)? {
        Probe::Blank
    } else {
        Probe::Unknown(String::from("no filesystem that is known, but the disk is not blank"))
    })
}

/// As [`probe`], by the superblock alone: `None` where there is none of ext4's, and the disk may be blank. For who formats next, which
/// looks at all of the disk itself.
#[must_use]
pub fn recognise(device: &dyn BlockDevice) -> Option<Probe> {
    if let Ok(raw) = read_superblock(device)
        && le16(&raw, field::MAGIC) == crate::superblock::MAGIC
        && !mark::is_interrupted(device).unwrap_or(false)
    {
        return Some(match read_sound(device) {
            Ok(Sound { raw, geometry, .. }) => Probe::Ext4(Info {
                uuid: geometry.uuid,
                label: raw[field::VOLUME_NAME..field::VOLUME_NAME + 16]
                    .iter()
                    .copied()
                    .take_while(|&byte| byte != 0)
                    .collect(),
                block_size: geometry.block_size as u32,
                blocks: geometry.blocks,
                needs_recovery: geometry.features.incompat.contains(Incompat::RECOVER),
                has_journal: geometry.features.compat.contains(Compat::HAS_JOURNAL),
            }),
            Err(error) => Probe::Unknown(alloc::format!("{error}")),
        });
    }
    None
}
