//! Everything that can be done with a filesystem, its errors disregarded, within bounds of its own.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use block::MemoryDisk;
use contract::random::Random;
use ext4::{Ext4, MountError, MountMode, MountOptions};
use vfs::{
    AllocateMode, Cookie, DirEntry, DirOps, Expect, FileSystem, NameBuf, NewKind, NewNode, Node, RenameMode, RenameOp,
    Result, SetAttr, SourceLeft, UpperRename, UpperRenameMode, Victim, XattrMode,
};

use crate::common::{context, short};

/// Nodes that are visited at most: an image may hold cycles.
const MOST_NODES: usize = 800;
const MOST_ENTRIES: usize = 1500;

/// How many images were mounted: a test of none tests nothing.
pub static MOUNTED: AtomicU64 = AtomicU64::new(0);

/// Mounts with a small cache.
pub fn try_mount(disk: &Arc<MemoryDisk>, mode: MountMode) -> Result<Arc<Ext4>, MountError> {
    Ext4::mount(disk.clone(), context(), MountOptions { mode, cache_bytes: 4 << 20, ..MountOptions::default() })
}

/// The entries of a directory, and the error that ended the list.
pub fn list(dir: &dyn DirOps) -> (Vec<NameBuf>, Result<()>) {
    let mut names = Vec::new();
    let result = dir.read_dir(Cookie::START, &mut |entry: &DirEntry<'_>| {
        assert!(entry.next.0 >= Cookie::FIRST, "a cookie that belongs to the namespace");
        names.push(entry.name.to_owned());
        if names.len() < MOST_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    (names, result)
}

/// Reads all there is to a node; the first error.
pub fn read_all(node: &Node) -> Result<()> {
    let attr = node.attr()?;
    let mut names = Vec::new();
    node.ops().list_xattrs(&mut |name| names.push(name.to_vec()))?;
    for name in names.iter().take(100) {
        node.ops().xattr(name)?;
    }
    match node {
        Node::File(file) => {
            let mut buf = vec![0; 65536];
            let end = attr.size.saturating_sub(1000);
            for at in [0, 65536, 131_072, 196_608, attr.size / 2, end, attr.size] {
                file.read_at(at, &mut buf)?;
            }
            let mut at = 0;
            for _ in 0..64 {
                let Some(data) = file.seek_data(at)? else { break };
                assert!(data >= at, "seek_data goes back");
                let Some(hole) = file.seek_hole(data)? else { break };
                assert!(hole > data, "seek_hole goes back");
                at = hole;
            }
        }
        Node::Dir(dir) => {
            let (names, result) = list(&**dir);
            result?;
            for name in &names {
                dir.lookup(name.as_name())?;
            }
        }
        Node::Symlink(link) => {
            let target = link.target()?;
            assert!((1..=4095).contains(&target.len()), "a target of {} bytes", target.len());
        }
        Node::Special(_) => {}
    }
    Ok(())
}

/// Every node that can be reached, within bounds.
pub fn walk(fs: &Ext4) -> Vec<(Arc<dyn DirOps>, NameBuf, Node)> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut left = vec![fs.root()];
    let mut lookups = 0;
    while let Some(dir) = left.pop() {
        let (names, _) = list(&*dir);
        for name in names {
            lookups += 1;
            if found.len() >= MOST_NODES || lookups > 4 * MOST_NODES {
                return found;
            }
            let Ok(Some(node)) = dir.lookup(name.as_name()) else { continue };
            if !seen.insert(node.id().ino) {
                continue;
            }
            let _ = read_all(&node);
            if let Node::Dir(child) = &node {
                left.push(child.clone());
            }
            found.push((dir.clone(), name, node));
        }
    }
    found
}

/// Changes here and there.
pub fn change(fs: &Ext4, random: &mut Random, found: &[(Arc<dyn DirOps>, NameBuf, Node)]) {
    let root = fs.root();
    for number in 0..6 {
        let _ = short::file(fs, &format!("new{number}"), &vec![0x5a; 3000 * number]);
        let _ = short::mkdir(fs, &format!("newdir{number}"));
    }
    for _ in 0..60.min(found.len() * 2) {
        let (dir, name, node) = random.pick(found);
        let (other, other_name, other_node) = random.pick(found);
        let fresh = format!("fresh{}", random.below(1000)).into_bytes();
        let fresh = vfs::Name::new(&fresh).expect("a name");
        match (random.below(14), node) {
            (0 | 1, Node::File(file)) => drop(file.write_at(random.below(300_000), &vec![0x5a; 20_000])),
            (2, Node::File(file)) => drop(file.set_len(random.below(100_000))),
            (3, Node::File(file)) => drop(file.allocate(AllocateMode::PunchHole, random.below(100_000), 50_000)),
            (4, Node::File(file)) => drop(file.allocate(AllocateMode::Extend, random.below(100_000), 50_000)),
            (5, Node::Dir(_)) => drop(dir.remove(name.as_name(), Expect::EmptyDir)),
            (5 | 6, _) => drop(dir.remove(name.as_name(), Expect::NonDir)),
            (7, _) => {
                let op = RenameOp { name: name.as_name(), to: other, new_name: fresh, mode: RenameMode::Replace };
                let _ = dir.rename(&op);
            }
            (8, Node::File(_) | Node::Special(_)) if !matches!(other_node, Node::Dir(_)) => {
                let mode = RenameMode::Exchange;
                let _ = dir.rename(&RenameOp { name: name.as_name(), to: other, new_name: other_name.as_name(), mode });
            }
            (9, _) => drop(node.ops().set_xattr(b"user.new", &vec![7; random.below(500) as usize], XattrMode::Set)),
            (10, _) => {
                let mut names = Vec::new();
                let _ = node.ops().list_xattrs(&mut |name| names.push(name.to_vec()));
                for name in names.iter().take(3) {
                    let _ = node.ops().remove_xattr(name);
                }
            }
            (11, Node::Dir(dir)) => {
                for kind in [NewKind::File, NewKind::Dir, NewKind::Symlink(&[b'x'; 100])] {
                    let _ = dir.create(fresh, &NewNode::new(kind, 0o600));
                }
            }
            (12, Node::File(_)) => drop(other.link(fresh, node)),
            (13, Node::Dir(inner)) => {
                if let Some(upper) = inner.as_upper() {
                    let _ = upper.whiteout(fresh, Victim::Absent);
                }
                if let Some(upper) = dir.as_upper() {
                    let _ = upper.remove_with_whiteouts(name.as_name());
                }
            }
            (13, _) => {
                if let Some(upper) = dir.as_upper() {
                    let mode = UpperRenameMode::Move(SourceLeft::Whiteout);
                    let op = UpperRename { name: name.as_name(), to: &root, new_name: fresh, mode, xattrs: &[] };
                    let _ = upper.rename_upper(&op);
                }
            }
            _ => drop(node.ops().set_attr(&SetAttr { mode: Some(0o640), ..SetAttr::default() })),
        }
    }
    let _ = fs.statfs();
}

/// Mounts, walks, reads, changes, syncs, unmounts.
pub fn exercise(disk: &Arc<MemoryDisk>, mode: MountMode, random: &mut Random) {
    let Ok(fs) = try_mount(disk, mode) else { return };
    MOUNTED.fetch_add(1, Ordering::Relaxed);
    let found = walk(&fs);
    change(&fs, random, &found);
    let _ = fs.sync();
    let _ = walk(&fs);
    drop(found);
    let _ = fs.unmount();
}
