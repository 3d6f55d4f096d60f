//! The smallest logs under the largest changes: nothing that a program does makes a transaction that its log cannot hold.

mod common;

use std::sync::Arc;

use common::disk::{Make, assert_clean};
use common::{context, number, short};
use contract::dsl::pattern;
use contract::random::Random;
use ext4::{Ext4, MountOptions};
use vfs::{AllocateMode, Errno, FileOps, FileSystem, SyncKind};

/// 1,024 blocks of log, and groups of 256 blocks: bitmaps and descriptors enough to fill it.
const MAKES: [Make; 3] = [
    Make::Mkfs(&["-b", "1024", "-g", "256", "-J", "size=1", "-N", "4096"]),
    Make::Mkfs(&["-b", "2048", "-g", "256", "-J", "size=2", "-N", "4096"]),
    Make::Mkfs(&["-b", "4096", "-g", "256", "-J", "size=4", "-N", "4096"]),
];

/// A mounted disk whose free blocks lie alone, one here and one there, in every group.
struct Scattered {
    disk: Arc<block::MemoryDisk>,
    fs: Arc<Ext4>,
    block: u64,
    /// Free blocks and inodes when it was empty.
    empty: (u64, u64),
}

impl Scattered {
    fn new(make: Make, cache_bytes: usize) -> Self {
        let blocks = 80 * 1024;
        let size: u64 = make.block_size();
        let disk = make.disk(blocks * size);
        let options = MountOptions { cache_bytes, ..MountOptions::default() };
        let fs = Ext4::mount(disk.clone(), context(), options).unwrap();
        let block = u64::from(fs.statfs().unwrap().block_size);
        let scattered = Self { disk, fs, block, empty: (0, 0) };
        Self { empty: scattered.free(), ..scattered }
    }

    fn free(&self) -> (u64, u64) {
        self.fs.sync().unwrap();
        let stat = self.fs.statfs().unwrap();
        (stat.blocks_free, stat.files_free)
    }

    /// Fills the disk with a file and takes every other block of it away.
    fn scatter(&self) {
        let file = short::file(&*self.fs, "filler", b"").unwrap();
        let mut at = 0;
        loop {
            match file.allocate(AllocateMode::Extend, at, 64 * self.block) {
                Ok(()) => at += 64 * self.block,
                Err(error) if error == Errno::ENOSPC => break,
                Err(error) => panic!("{error}"),
            }
        }
        for hole in (0..at / self.block).step_by(2) {
            file.allocate(AllocateMode::PunchHole, hole * self.block, self.block).unwrap();
        }
        self.alive("scattered");
    }

    /// Whether nothing has stopped it.
    fn alive(&self, what: &str) {
        self.fs.sync().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!self.fs.is_read_only(), "{what}");
    }

    /// Removes the files, all or those named, and sees that nothing is lost.
    fn end(self, make: Make, names: &[&str]) {
        for name in names.iter().chain(&["filler"]) {
            short::unlink(&*self.fs, name).unwrap();
        }
        self.alive("removed");
        assert_eq!(self.free(), self.empty, "{make:?}");
        self.fs.unmount().unwrap();
        drop(self.fs);
        assert_clean(&self.disk, &format!("{make:?}"));
    }
}

/// Writes what there is room for.
fn fill(file: &dyn FileOps, offset: u64, data: &[u8]) -> u64 {
    let mut done = 0;
    while done < data.len() {
        match file.write_at(offset + done as u64, &data[done..]) {
            Ok(len) => done += len,
            Err(error) if error == Errno::ENOSPC => break,
            Err(error) => panic!("{error}"),
        }
    }
    done as u64
}

#[test]
fn a_large_file_in_single_blocks_of_every_group_is_written_cut_and_removed() {
    for make in MAKES {
        for cache in [2 << 20, 16 << 20] {
            let disk = Scattered::new(make, cache);
            disk.scatter();
            let content = pattern(3, 12_000 * disk.block as usize);
            let file = short::file(&*disk.fs, "large", b"").unwrap();
            let len = fill(&*file, 0, &content);
            assert!(len > 8_000 * disk.block, "{make:?}: {len} bytes");
            file.sync(SyncKind::All).unwrap();
            disk.alive("written");
            // Again in place, in steps that no block is whole in, and with a hole in the middle.
            fill(&*file, 100, &content[..4_000_000.min(len as usize - 100)]);
            file.allocate(AllocateMode::PunchHole, 1000 * disk.block, 3000 * disk.block).unwrap();
            disk.alive("punched");
            fill(&*file, 1000 * disk.block, &content[..2000 * disk.block as usize]);
            file.set_len(len / 3).unwrap();
            disk.alive("cut");
            fill(&*file, len, b"far");
            drop(file);
            disk.end(make, &["large"]);
        }
    }
}

#[test]
fn many_small_stretches_of_many_files_wait_for_their_places_together() {
    for make in MAKES {
        let disk = Scattered::new(make, 16 << 20);
        disk.scatter();
        let mut random = Random::new(number("STRATA_SEED", 5));
        let names: Vec<String> = (0..40).map(|index| format!("f{index}")).collect();
        let files: Vec<_> = names.iter().map(|name| short::file(&*disk.fs, name, b"").unwrap()).collect();
        for step in 0..number("STRATA_OPS", 6000) {
            let file = &files[random.below(40) as usize];
            let at = random.below(8000) * disk.block;
            let data = pattern(step, 1 + random.below(3 * disk.block) as usize);
            match random.below(40) {
                0 => file.set_len(at).unwrap(),
                1 => file.allocate(AllocateMode::PunchHole, at, 500 * disk.block).unwrap(),
                2 => match file.allocate(AllocateMode::Extend, at, 50 * disk.block) {
                    Err(error) if error != Errno::ENOSPC => panic!("{error}"),
                    _ => {}
                },
                3 => disk.fs.tick().unwrap(),
                _ => drop(fill(&**file, at, &data)),
            }
            assert!(!disk.fs.is_read_only(), "{make:?}, step {step}");
        }
        disk.alive("small stretches");
        drop(files);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        disk.end(make, &names);
    }
}

#[test]
fn names_and_attributes_enough_for_deep_directories_fit_into_small_transactions() {
    for make in MAKES {
        let disk = Scattered::new(make, 16 << 20);
        disk.scatter();
        let dir = short::root(&*disk.fs).mkdir("d").unwrap();
        let names = 1500;
        for index in 0..names {
            let name = format!("{index:0>200}");
            let file = dir.file(&name, "").unwrap();
            let value = pattern(index, 300 + index as usize % 400);
            match file.set_xattr(b"user.x", &value, vfs::XattrMode::Set) {
                Err(error) if error.errno() != Errno::ENOSPC => panic!("{error}"),
                _ => {}
            }
        }
        disk.alive("names");
        for index in 0..names {
            dir.unlink(format!("{index:0>200}")).unwrap();
        }
        drop(dir);
        short::rmdir(&*disk.fs, "d").unwrap();
        disk.end(make, &[]);
    }
}
