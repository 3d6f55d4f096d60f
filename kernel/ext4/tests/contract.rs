//! The contract suite over ext4 on disks in memory, one way to make the filesystem after the other; after every test
//! `e2fsck` judges the unmounted image.

mod common;

use std::sync::Arc;

use block::MemoryDisk;
use common::disk::{MIB, Make, fsck};
use contract::{Failure, Features, Fixture, Mounted, Outcome, Setup};
use ext4::{Ext4, MountMode, MountOptions};
use vfs::{DirOps, Errno, Error, FileSystem, FsContext, Name, NewKind, NewNode};

/// Where the tests work, beside `lost+found`.
const BASE: &[u8] = b"base";

struct OnDisk {
    make: Make,
    /// Size where the test asks for none.
    plenty: u64,
    without: Features,
}

fn refused(error: ext4::MountError) -> Error {
    panic!("mount: {error}");
}

fn mount(disk: &Arc<MemoryDisk>, context: FsContext) -> vfs::Result<Mounted> {
    let options = MountOptions { mode: MountMode::ReadWrite, ..MountOptions::default() };
    let fs = Ext4::mount(disk.clone(), context, options).map_err(refused)?;
    let name = Name::new(BASE)?;
    let base = match fs.root().lookup(name)? {
        Some(node) => node,
        None => fs.root().create(name, &NewNode::new(NewKind::Dir, 0o755))?,
    };
    let base = base.as_dir()?.clone();
    Ok(Mounted { fs, base, state: Some(Box::new(disk.clone())) })
}

/// Unmounts; gives the disk.
fn unmount(mounted: Mounted) -> vfs::Result<Arc<MemoryDisk>> {
    let Mounted { fs, base, state } = mounted;
    drop(base);
    fs.unmount()?;
    let disk = state.and_then(|state| state.downcast::<Arc<MemoryDisk>>().ok());
    disk.map(|disk| *disk).ok_or(Error::new(Errno::EINVAL, "the disk of the fixture"))
}

impl Fixture for OnDisk {
    fn features(&self) -> Features {
        let all = Features::COMPLETE | Features::LIMITED_SPACE | Features::REMOUNT;
        all - Features::LARGE_XATTRS - self.without
    }

    fn mount(&self, setup: &Setup<'_>) -> vfs::Result<Mounted> {
        // A journal takes four MiB, or one with blocks of 1 KiB.
        let bytes = setup.space.map_or(self.plenty, |space| space + 6 * MIB);
        let mounted = mount(&self.make.disk(bytes), setup.context.clone())?;
        contract::tree::build(&mounted.base, setup.tree)?;
        Ok(mounted)
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> vfs::Result<Mounted> {
        mount(&unmount(mounted)?, context)
    }

    fn examine(&self, mounted: Mounted) -> Outcome {
        let disk = unmount(mounted)?;
        fsck(&disk).map_err(Failure::new)
    }
}

/// One module a way: `fixture!(name, make, MiB of plenty, features left out)`.
macro_rules! fixture {
    ($name:ident, $make:expr, $plenty:expr, $without:expr) => {
        mod $name {
            use super::*;

            contract::contract_tests!(OnDisk { make: $make, plenty: $plenty * MIB, without: $without });
        }
    };
}

fixture!(ours, Make::Ours(4096, 256), 512, Features::empty());
fixture!(mkfs_default, Make::Mkfs(&["-b", "4096", "-I", "256"]), 32, Features::LARGE);
fixture!(
    blocks_of_1k_inodes_of_128_no_checksums,
    Make::Mkfs(&["-b", "1024", "-I", "128", "-O", "^metadata_csum"]),
    32,
    Features::LARGE | Features::BIRTH_TIME
);
fixture!(blocks_of_2k, Make::Mkfs(&["-b", "2048"]), 32, Features::LARGE);
fixture!(no_64bit, Make::Mkfs(&["-b", "4096", "-O", "^64bit"]), 32, Features::LARGE);
fixture!(no_dir_index, Make::Mkfs(&["-b", "1024", "-I", "256", "-O", "^dir_index"]), 32, Features::LARGE);
