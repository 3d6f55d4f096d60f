//! What a disk may be after a power cut.

use std::ops::ControlFlow;
use std::sync::Arc;

use block::MemoryDisk;
use ext4::FormatOptions;
use fs_overlay::{Options, OverlayFs};
use storm::{Kind, MARK, Node, Tree, UNFINISHED, XATTR};
use tarfs::TarFs;
use vfs::{Cookie, DirOps, FileSystem, FsContext, Name, Node as VfsNode, Result};

use crate::disk::{Scratch, fsck_file, load, recover_file, store};
use crate::now;

/// How many steps beyond the last promise there may be: the load makes no more without one.
const MORE: u64 = 512;

/// Has our own mount recover a copy of `disk`: the tree is that of `least` steps or more, and `e2fsck -fn` finds nothing after
/// the unmount.
///
/// # Errors
/// What is wrong.
pub(crate) fn by_us(disk: &MemoryDisk, firmware: &[u8], seed: u64, least: u64) -> Result<(), String> {
    let disk = Arc::new(disk.snapshot());
    look(&disk, firmware, seed, least)?;
    let scratch = Scratch::new();
    let image = scratch.join("image");
    store(&disk, &image);
    fsck_file(&image).map_err(|why| format!("after our recovery: {why}"))
}

/// The same with `e2fsck -fy` recovering it.
///
/// # Errors
/// What is wrong.
pub(crate) fn by_e2fsck(disk: &MemoryDisk, firmware: &[u8], seed: u64, least: u64) -> Result<(), String> {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    store(disk, &image);
    recover_file(&image)?;
    look(&load(&image), firmware, seed, least).map_err(|why| format!("after e2fsck's recovery: {why}"))
}

/// Mounts `disk` as the kernel does, looks at the load's tree, and unmounts it.
pub(crate) fn look(disk: &Arc<MemoryDisk>, firmware: &[u8], seed: u64, least: u64) -> Result<(), String> {
    storage::prepare(&**disk, || FormatOptions::new([7; 32], now())).map_err(|why| why.to_string())?;
    let tars = TarFs::mount_all(firmware.to_vec(), |_| context(), tarfs::MountOptions::default());
    let tars: Vec<_> = tars.map_err(|why| why.to_string())?.into_iter().map(|tar| tar as Arc<dyn FileSystem>).collect();
    let options = ext4::MountOptions { cache_bytes: 64 << 20, ..ext4::MountOptions::default() };
    let (ext4, changes) = storage::mount(disk.clone(), context(), options, &tars).map_err(|why| why.to_string())?;
    if ext4.is_read_only() {
        return Err("it is mounted read-only".into());
    }
    let overlay = OverlayFs::mount(context(), storage::stack(tars, Some(changes)), Options::default());
    let overlay = overlay.map_err(|why| why.to_string())?;
    let found = tree(&overlay).map_err(|error| format!("the tree cannot be read: {error}"))?;
    let moment = storm::find(&found, seed, least, least + MORE).map(drop);
    overlay.unmount().and_then(|()| ext4.unmount()).map_err(|error| format!("unmount: {error}"))?;
    moment
}

fn context() -> FsContext {
    FsContext { dev: 0x801, clock: Arc::new(now) }
}

fn tree(overlay: &OverlayFs) -> Result<Tree> {
    let mut tree = Tree::default();
    let top = overlay.root().lookup(Name::new(b"storm")?)?;
    below(&**top.ok_or(vfs::Errno::ENOENT)?.as_dir()?, b"", &mut tree)?;
    Ok(tree)
}

fn below(dir: &dyn DirOps, path: &[u8], tree: &mut Tree) -> Result<()> {
    let mut names = Vec::new();
    dir.read_dir(Cookie::START, &mut |entry: &vfs::DirEntry<'_>| {
        names.push(entry.name.to_owned());
        ControlFlow::Continue(())
    })?;
    for name in names {
        if (path.is_empty() && name.as_bytes() == MARK) || name.as_bytes() == UNFINISHED {
            continue;
        }
        let node = dir.lookup(name.as_name())?.ok_or(vfs::Errno::ENOENT)?;
        let attr = node.attr()?;
        let mut path = path.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        let kind = match &node {
            VfsNode::File(file) => {
                let mut bytes = vec![0; attr.size as usize];
                let mut got = 0;
                while got < bytes.len() {
                    match file.read_at(got as u64, &mut bytes[got..])? {
                        0 => return Err(vfs::Errno::EIO.into()),
                        count => got += count,
                    }
                }
                Kind::File(bytes)
            }
            VfsNode::Dir(dir) => {
                below(&**dir, &path, tree)?;
                Kind::Dir
            }
            VfsNode::Symlink(link) => Kind::Symlink(link.target()?),
            VfsNode::Special(_) => Kind::Fifo,
        };
        let xattr = if matches!(kind, Kind::File(_)) { node.ops().xattr(XATTR)? } else { None };
        tree.add(path, attr.ino, Node { kind, mode: attr.st_mode() & 0o7777, uid: attr.uid, xattr });
    }
    Ok(())
}
