//! A small tree that has a bit of everything, and where its metadata lies: for flipped images and for the fuzzer.

use ext4::Ext4;
use vfs::{AllocateMode, DeviceNumber, NewKind, SetAttr, Victim};

use crate::common::raw::{Raw, group, sb};
use crate::common::short;

/// What all files hold: such blocks are no metadata.
pub const FILL: u8 = 0x5a;

/// A bit of everything.
pub fn populate(fs: &Ext4) {
    let root = short::root(fs);
    root.file("file", vec![FILL; 20_000]).unwrap();
    let deep = root.file("deep", "").unwrap();
    for at in 0..500 {
        deep.put(at * 8192, vec![FILL; 1024]).unwrap();
    }
    let reserved = root.file("reserved", vec![FILL; 9000]).unwrap();
    reserved.allocate(AllocateMode::Extend, 9000, 60_000).unwrap();
    let dir = root.mkdir("dir").unwrap();
    for number in 0..12 {
        let sub = dir.mkdir(format!("sub{number}")).unwrap();
        sub.file("inner", vec![FILL; 1000 * number]).unwrap();
        sub.link("again", &sub.at("inner").unwrap()).unwrap();
    }
    let crowd = root.mkdir("crowd").unwrap();
    for number in 0..150 {
        crowd.file(format!("{number} {}", "c".repeat(number)), "").unwrap();
    }
    root.make("fast", NewKind::Symlink(b"dir/sub1/inner")).unwrap();
    root.make("slow", NewKind::Symlink(&[b's'; 300])).unwrap();
    root.make("device", NewKind::CharDevice(DeviceNumber::new(300, 70_000))).unwrap();
    root.make("block", NewKind::BlockDevice(DeviceNumber::new(8, 1))).unwrap();
    root.make("fifo", NewKind::Fifo).unwrap();
    dir.as_upper().unwrap().whiteout(vfs::Name::new(b"white").unwrap(), Victim::Absent).unwrap();
    for (path, len) in [("file", 30), ("dir", 200), ("crowd", 600), ("slow", 20), ("device", 100)] {
        short::set_xattr(fs, path, "trusted.x", &vec![1; len]).unwrap();
        short::set_xattr(fs, path, "trusted.overlay.opaque", b"y").unwrap();
    }
    short::at(fs, "dir").unwrap().ops().set_attr(&SetAttr { mode: Some(0o2775), ..SetAttr::default() }).unwrap();
}

/// Places of one kind of metadata.
pub type Class = Vec<std::ops::Range<usize>>;

/// Places of metadata, by what it is: a class is chosen first, so that small ones are met as often as large ones.
pub fn places(raw: &Raw) -> Vec<Class> {
    let size = raw.block_size;
    let whole = |block: u32| raw.block(block)..raw.block(block) + size;
    let superblock: Class = std::iter::once(sb::AT..sb::AT + 0x280).collect();
    let descriptors: Class = std::iter::once(raw.group(0)..raw.group(raw.groups)).collect();
    let mut bitmaps = Vec::new();
    let mut tables = Vec::new();
    let mut taken = std::collections::HashSet::new();
    for number in 0..raw.groups {
        let at = raw.group(number);
        for field in [group::BLOCK_BITMAP, group::INODE_BITMAP] {
            bitmaps.push(whole(raw.u32(at + field)));
            taken.insert(raw.u32(at + field) as usize);
        }
        let table = raw.u32(at + group::INODE_TABLE);
        for index in 0..raw.inodes_per_group as usize {
            let record = raw.block(table) + index * raw.inode_size;
            taken.insert(record / size);
            if raw.bytes[record..record + raw.inode_size].iter().any(|&byte| byte != 0) {
                tables.push(record..record + raw.inode_size);
            }
        }
    }
    let journal_blocks = raw.u32(raw.inode(8) + 4) as usize / size;
    let journal: Class = (0..journal_blocks)
        .map(|logical| raw.file_block(8, logical as u32))
        .inspect(|&block| {
            taken.insert(block as usize);
        })
        .filter(|&block| raw.bytes[whole(block)].iter().any(|&byte| byte != 0))
        .map(whole)
        .collect();
    let first = (raw.group(raw.groups)).div_ceil(size);
    let others = (first..raw.bytes.len() / size)
        .filter(|block| !taken.contains(block))
        .map(|block| block * size..(block + 1) * size)
        .filter(|range| {
            let bytes = &raw.bytes[range.clone()];
            bytes.iter().any(|&byte| byte != 0) && !bytes.iter().all(|&byte| byte == FILL || byte == 0)
        })
        .collect();
    let mut classes = vec![superblock.clone(), descriptors, bitmaps, tables.clone(), tables, others];
    classes.push(if journal.is_empty() { superblock.clone() } else { journal });
    classes
}
