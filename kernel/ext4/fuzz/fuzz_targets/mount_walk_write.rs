//! A small valid image is changed here and there in its metadata, mounted, walked, read and written to, its journal replayed.
//!
//! The input is a list of changes, each at a place of one kind of metadata, so that every byte of the input means something; checksums
//! are all zero in this build (see the crate's `checksum`), so that a change is never refused for its checksum alone.
//! `cargo fuzz run -s none mount_walk_write` in `kernel/ext4` runs it on stable Rust.

#![no_main]

use std::sync::{Arc, OnceLock};

use block::{BlockDevice, MemoryDisk, SECTOR_SIZE};
use contract::random::Random;
use ext4::{Ext4, FormatOptions, MountMode, MountOptions};
use libfuzzer_sys::fuzz_target;
use vfs::{FileSystem, Timestamp};

use common::raw::Raw;
use populate::Class;

mod common;
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the tests use all of it")]
#[path = "../../tests/hostile/exercise.rs"]
mod exercise;
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the tests use all of it")]
#[path = "../../tests/hostile/populate.rs"]
mod populate;

/// An image, and where its metadata lies.
struct Base {
    disk: MemoryDisk,
    places: Vec<Class>,
}

const SIZE: u64 = 12 << 20;

/// An image of blocks and inodes of these sizes; with a log to replay, or unmounted.
fn base(block_size: u32, inode_size: u16, dirty: bool) -> Base {
    let disk = Arc::new(MemoryDisk::new(SIZE));
    let options = FormatOptions { block_size, inode_size, ..FormatOptions::new([7; 32], Timestamp::from_secs(1)) };
    ext4::format(&*disk, &options).expect("a blank disk is formatted");
    let options = MountOptions { mode: MountMode::ReadWrite, cache_bytes: 4 << 20, ..MountOptions::default() };
    let fs = Ext4::mount(disk.clone(), common::context(), options).expect("what was formatted is mounted");
    populate::populate(&fs);
    let disk = if dirty {
        fs.sync().expect("a sync");
        common::short::unlink(&*fs, "file").expect("there is a file");
        fs.sync().expect("a sync");
        disk.snapshot()
    } else {
        fs.unmount().expect("an unmount");
        disk.snapshot()
    };
    let mut places = populate::places(&Raw::of(&disk));
    places.retain(|class| !class.is_empty());
    Base { disk, places }
}

fn bases() -> &'static [Base] {
    static BASES: OnceLock<Vec<Base>> = OnceLock::new();
    BASES.get_or_init(|| {
        let shapes = [(1024, 128), (4096, 256), (1024, 256), (2048, 128)];
        shapes.iter().flat_map(|&(block, inode)| [base(block, inode, false), base(block, inode, true)]).collect()
    })
}

/// Bytes of the input, one after the other; zeros when there are no more.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }
}

/// Changes a few bytes of a disk, which may lie across sectors.
fn put(disk: &MemoryDisk, at: usize, bytes: &[u8]) {
    let first = at / SECTOR_SIZE;
    let skip = at % SECTOR_SIZE;
    let mut sectors = vec![0; (skip + bytes.len()).next_multiple_of(SECTOR_SIZE)];
    if disk.read(first as u64, &mut sectors).is_ok() {
        sectors[skip..skip + bytes.len()].copy_from_slice(bytes);
        disk.write(first as u64, &sectors).expect("what was read can be written");
    }
}

/// One change: a kind of metadata, a place of it, an offset, and what goes there.
fn mutate(base: &Base, disk: &MemoryDisk, input: &mut Input<'_>) {
    let class = &base.places[usize::from(input.byte()) % base.places.len()];
    let range = &class[input.word() as u16 as usize % class.len()];
    let how = input.byte();
    // Fields of headers and of the first entries are met more often.
    let reach = if how & 1 == 0 { range.len().min(128) } else { range.len() };
    let mut at = range.start + input.word() as u16 as usize % reach;
    let value = input.word();
    let width = match how >> 1 & 3 {
        0 => 1,
        1 => 2,
        _ => 4,
    };
    // Fields lie at multiples of their size.
    at -= at % width;
    let bytes = if how & 0x80 == 0 { value.to_le_bytes() } else { value.to_be_bytes() };
    let bytes = if how & 0x80 == 0 { &bytes[..width] } else { &bytes[4 - width..] };
    put(disk, at, bytes);
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let head = input.byte();
    let base = &bases()[usize::from(head) % bases().len()];
    let mode = if head & 0x80 == 0 { MountMode::ReadWrite } else { MountMode::ReadOnly };
    let mut random = Random::new(u64::from(input.byte()));
    let disk = Arc::new(base.disk.snapshot());
    for _ in 0..16 {
        if input.0.is_empty() {
            break;
        }
        mutate(base, &disk, &mut input);
    }
    exercise::exercise(&disk, mode, &mut random);
    if head & 0x40 != 0 {
        exercise::exercise(&disk, MountMode::ReadWrite, &mut random);
    }
});
