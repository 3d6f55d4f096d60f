//! A full upper: copy-ups and whiteouts take the last block and the last inode. What fails fails wholly, nothing is lost, all of it can
//! be removed, and then the disk has as much room as before.

use std::sync::Arc;

use fs_overlay::{Layer, Layers, Options, OverlayFs};
use vfs::{Errno, FileSystem, NewKind, NewNode, OpenIntent, SetAttr};

use crate::support::disk::Disk;
use crate::support::{Tree, context, entries, name, ram, read_all};

/// How many files the firmware has.
const FILES: u64 = 400;

/// A name of a file below, and its length: from nothing to a hundred KiB.
fn file(number: u64) -> (String, usize) {
    (format!("d{}/file{number}", number % 7), (number * number * 53 % 100_000) as usize)
}

fn content(number: u64) -> String {
    let (name, len) = file(number);
    name.chars().cycle().take(len).collect()
}

fn firmware() -> Arc<dyn FileSystem> {
    let below: Arc<dyn FileSystem> = ram();
    let tree = Tree::of(&*below);
    (0..7).for_each(|number| tree.mkdir(&format!("d{number}")).unwrap());
    (0..FILES).for_each(|number| tree.put(&file(number).0, &content(number)).unwrap());
    below
}

struct Rig {
    disk: Disk,
    below: Arc<dyn FileSystem>,
    ext4: Arc<dyn FileSystem>,
    fs: Arc<OverlayFs>,
    /// Free blocks and inodes at the start.
    before: (u64, u64),
}

impl Rig {
    fn new(bytes: u64) -> Self {
        let (disk, below) = (Disk::new(bytes, 9, context()), firmware());
        let ext4 = disk.mount(context());
        let fs = merged(&ext4, &below);
        let before = free(&*ext4);
        Self { disk, below, ext4, fs, before }
    }

    fn tree(&self) -> Tree {
        Tree::of(&*self.fs)
    }

    fn remount(&mut self) {
        self.fs.unmount().unwrap();
        self.ext4.unmount().unwrap();
        assert_eq!(self.disk.damage(), None);
        self.ext4 = self.disk.mount(context());
        self.fs = merged(&self.ext4, &self.below);
    }

    /// Removes all there is through the overlay, then the whiteouts that this left, and counts.
    fn empty(self) {
        let tree = self.tree();
        clear(&tree, "");
        assert!(tree.names("").is_empty());
        drop(tree);
        self.fs.unmount().unwrap();
        let upper = Tree(self.ext4.root().lookup(name("u")).unwrap().unwrap().as_dir().unwrap().clone());
        clear(&upper, "");
        drop(upper);
        assert_eq!(free(&*self.ext4), self.before, "free blocks and inodes, when all was removed");
        let Self { disk, ext4, fs, .. } = self;
        drop(fs);
        ext4.unmount().unwrap();
        drop(ext4);
        assert_eq!(disk.damage(), None);
    }
}

fn merged(ext4: &Arc<dyn FileSystem>, below: &Arc<dyn FileSystem>) -> Arc<OverlayFs> {
    let layers = Layers {
        upper: Some(Disk::layer(ext4, "u")),
        work: Some(Disk::layer(ext4, "w")),
        lowers: vec![Layer::of(below.clone())],
    };
    OverlayFs::mount(context(), layers, Options::default()).unwrap()
}

/// Free blocks and inodes, when what was removed is given back.
fn free(ext4: &dyn FileSystem) -> (u64, u64) {
    ext4.sync().unwrap();
    let counts = ext4.statfs().unwrap();
    (counts.blocks_free, counts.files_free)
}

/// Removes everything below a path.
fn clear(tree: &Tree, path: &str) {
    for (entry, _, kind) in entries(&*tree.dir(path).unwrap()) {
        let child = if path.is_empty() { entry } else { format!("{path}/{entry}") };
        if kind == vfs::FileType::Dir {
            clear(tree, &child);
            tree.rmdir(&child).unwrap_or_else(|error| panic!("{child}: {error}"));
        } else {
            tree.unlink(&child).unwrap_or_else(|error| panic!("{child}: {error}"));
        }
    }
}

/// Writes one block after the other to a new file, until there is none.
fn take_the_rest(rig: &Rig) {
    let filler = rig.tree().create("filler", &NewNode::new(NewKind::File, 0o600)).unwrap();
    let filler = filler.as_file().unwrap().clone();
    for round in 0.. {
        match filler.append(&[7; 4096]) {
            Ok(_) => {}
            Err(error) if error == Errno::ENOSPC && round % 2 == 1 => break,
            // What was promised may be more than what was taken.
            Err(error) if error == Errno::ENOSPC => rig.ext4.sync().unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn copy_ups_fill_the_disk_to_its_last_block_and_lose_nothing() {
    let mut rig = Rig::new(12 << 20);
    let tree = rig.tree();
    let mut changed = vec![false; FILES as usize];
    let mut refused = 0;
    for number in 0..FILES {
        match tree.append(&file(number).0, "!") {
            Ok(()) => changed[number as usize] = true,
            Err(error) => {
                assert_eq!(error.errno(), Errno::ENOSPC);
                refused += 1;
            }
        }
    }
    assert!(refused > 50 && refused < FILES - 50, "{refused} of {FILES} refused");
    // With what is left of the space: other operations, which are refused or done.
    take_the_rest(&rig);
    assert_eq!(free(&*rig.ext4).0, 0, "no block is left unused");
    for number in (0..FILES).filter(|number| !changed[*number as usize] && file(*number).1 > 0) {
        let error = tree.file(&file(number).0).unwrap().prepare_open(OpenIntent::Write).unwrap_err();
        assert_eq!(error.errno(), Errno::ENOSPC);
    }
    let check = |tree: &Tree| {
        for number in 0..FILES {
            let expected = content(number) + if changed[number as usize] { "!" } else { "" };
            assert!(tree.read(&file(number).0).unwrap() == expected, "{}", file(number).0);
        }
    };
    check(&tree);
    drop(tree);
    rig.remount();
    check(&rig.tree());
    rig.empty();
}

#[test]
fn copy_ups_and_whiteouts_take_the_last_inode_and_lose_nothing() {
    let mut rig = Rig::new(12 << 20);
    let tree = rig.tree();
    // The last inodes but a hundred.
    tree.mkdir("many").unwrap();
    let spare = free(&*rig.ext4).1 - 100;
    for number in 0..spare {
        tree.create(&format!("many/{number}"), &NewNode::new(NewKind::Fifo, 0o600)).unwrap();
    }
    let mut changed = Vec::new();
    for number in 0..FILES {
        let node = tree.get(&file(number).0).unwrap();
        match node.ops().set_attr(&SetAttr { mode: Some(0o640), ..SetAttr::default() }) {
            Ok(()) => changed.push(number),
            Err(error) => {
                assert_eq!(error.errno(), Errno::ENOSPC);
                assert_eq!(node.attr().unwrap().mode, 0o644);
                break;
            }
        }
    }
    assert_eq!(free(&*rig.ext4).1, 0, "no inode is left unused");
    assert!(changed.len() > 50 && changed.len() < 101, "{} copied", changed.len());
    assert_eq!(tree.mkdir("new").unwrap_err(), Errno::ENOSPC);
    // The first whiteout of a mount takes an inode, and whatever goes first makes room for it: what hides nothing needs none.
    assert_eq!(tree.unlink(&file(changed[0]).0).unwrap_err(), Errno::ENOSPC);
    assert_eq!(tree.get(&file(changed[0]).0).unwrap().attr().unwrap().mode, 0o640);
    tree.unlink("many/0").unwrap();
    for number in &changed[..changed.len() / 2] {
        tree.unlink(&file(*number).0).unwrap_or_else(|error| panic!("{}: {error}", file(*number).0));
    }
    let check = |tree: &Tree| {
        for number in 0..FILES {
            let (path, _) = file(number);
            let place = changed.iter().position(|other| *other == number);
            if place.is_some_and(|place| place < changed.len() / 2) {
                assert!(!tree.has(&path), "{path} came back");
                continue;
            }
            assert_eq!(read_all(&*tree.file(&path).unwrap()).unwrap().len(), file(number).1, "{path}");
            let mode = tree.get(&path).unwrap().attr().unwrap().mode;
            assert_eq!(mode, if place.is_some() { 0o640 } else { 0o644 }, "{path}");
        }
    };
    check(&tree);
    drop(tree);
    rig.remount();
    check(&rig.tree());
    rig.empty();
}
