//! Disks that are not for us: refused by name, or mounted read-only, and not a byte of them changed.

mod common;

use std::sync::Arc;

use block::{BlockDevice, MemoryDisk};
use common::disk::{DEFAULT, MIB, Make, OLD, Scratch, load, mkfs, mkfs_file};
use common::raw::{Raw, sb};
use common::{mount, mount_read_only, short, try_mount};
use contract::dsl::pattern;
use ext4::{MountError, MountMode, Probe, probe};
use vfs::{Errno, FileSystem, NewKind};

/// Tries to mount, and looks whether the disk was changed.
fn refusal(disk: &Arc<MemoryDisk>) -> MountError {
    let before = disk.to_image();
    for mode in [MountMode::ReadOnly, MountMode::ReadWrite] {
        assert!(try_mount(disk.clone(), mode).is_err(), "it is mounted");
        assert!(disk.to_image() == before, "a refused disk was written to");
    }
    probe(&**disk).expect("a look");
    assert!(disk.to_image() == before, "a look wrote to the disk");
    try_mount(disk.clone(), MountMode::ReadWrite).err().expect("it was refused before")
}

/// Mounts for writing, finds it read-only, and looks whether the disk was changed.
fn read_only_by_itself(disk: &Arc<MemoryDisk>) {
    let before = disk.to_image();
    let fs = mount(disk.clone());
    assert!(fs.is_read_only());
    let refused = short::file(&*fs, "new", b"1").map(drop);
    assert_eq!(refused.map_err(|error| error.errno()), Err(Errno::EROFS));
    assert_eq!(short::unlink(&*fs, "file").map_err(|error| error.errno()), Err(Errno::EROFS));
    assert_eq!(short::read(&*fs, "file").unwrap(), b"content");
    fs.sync().unwrap();
    fs.unmount().unwrap();
    drop(fs);
    assert!(disk.to_image() == before, "a read-only filesystem was written to");
}

/// A filesystem without checksums, with one file.
fn plain() -> Raw {
    let disk = OLD.disk(8 * MIB);
    let fs = mount(disk.clone());
    short::file(&*fs, "file", b"content").unwrap();
    fs.unmount().unwrap();
    Raw::of(&disk)
}

#[test]
fn every_unsupported_incompatible_feature_is_refused_by_name() {
    let raw = plain();
    let names = [
        (0x1, "compression"),
        (0x8, "journal_dev"),
        (0x100, "mmp"),
        (0x400, "ea_inode"),
        (0x1000, "dirdata"),
        (0x8000, "inline_data"),
        (0x1_0000, "encrypt"),
        (0x2_0000, "casefold"),
        (0x8000_0000, "0x80000000"),
        (0x20, "0x20"),
    ];
    for (bit, name) in names {
        let mut raw = raw.clone();
        let flags = raw.u32(sb::INCOMPAT) | bit;
        raw.put32(sb::INCOMPAT, flags);
        let error = refusal(&raw.disk());
        assert!(matches!(&error, MountError::Features(names) if names == name), "{bit:#x}: {error}");
        assert!(error.to_string().contains(name), "{error}");
        match probe(&*raw.disk()).unwrap() {
            Probe::Unknown(text) => assert!(text.contains(name), "{text}"),
            other => panic!("{bit:#x}: {other:?}"),
        }
    }
    // Several are all named.
    let mut raw = raw;
    let flags = raw.u32(sb::INCOMPAT) | 0x1_8000;
    raw.put32(sb::INCOMPAT, flags);
    let text = refusal(&raw.disk()).to_string();
    assert!(text.contains("encrypt") && text.contains("inline_data"), "{text}");
}

#[test]
fn every_unsupported_read_only_feature_makes_it_read_only() {
    let raw = plain();
    for bit in [0x80, 0x100, 0x800, 0x1000, 0x2000, 0x4000, 0x8000, 0x8000_0000] {
        let mut raw = raw.clone();
        let flags = raw.u32(sb::RO_COMPAT) | bit;
        raw.put32(sb::RO_COMPAT, flags);
        read_only_by_itself(&raw.disk());
    }
}

#[test]
fn unknown_compatible_features_are_left_alone() {
    let mut raw = plain();
    let flags = raw.u32(sb::COMPAT) | 0x4000_0000;
    raw.put32(sb::COMPAT, flags);
    let disk = raw.disk();
    let fs = mount(disk.clone());
    short::file(&*fs, "new", b"1").unwrap();
    fs.unmount().unwrap();
    assert_eq!(Raw::of(&disk).u32(sb::COMPAT), flags);
}

#[test]
fn what_mkfs_makes_with_unsupported_features_is_refused_or_read_only() {
    for (feature, name) in [
        ("inline_data", "inline_data"),
        ("encrypt", "encrypt"),
        ("casefold", "casefold"),
        ("ea_inode", "ea_inode"),
        ("mmp", "mmp"),
    ] {
        let scratch = Scratch::new();
        let image = scratch.join("image");
        mkfs_file(&["-b", "4096", "-O", feature], 16 * MIB, &image);
        let error = refusal(&load(&image));
        assert!(error.to_string().contains(name), "{feature}: {error}");
    }
    for features in ["bigalloc", "quota", "project"] {
        let disk = mkfs(&["-b", "4096", "-O", features], 16 * MIB);
        match try_mount(disk.clone(), MountMode::ReadWrite) {
            Ok(fs) => assert!(fs.is_read_only(), "{features}"),
            Err(_) => {
                let error = refusal(&disk);
                assert!(error.to_string().contains(features), "{features}: {error}");
            }
        }
    }
}

#[test]
fn a_journal_device_is_refused() {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    mkfs_file(&["-b", "4096", "-O", "journal_dev"], 16 * MIB, &image);
    let error = refusal(&load(&image));
    assert!(error.to_string().contains("journal_dev"), "{error}");
}

#[test]
fn a_filesystem_whose_journal_is_elsewhere_and_needed_is_refused() {
    let mut raw = plain();
    let flags = raw.u32(sb::INCOMPAT) | 4;
    raw.put32(sb::INCOMPAT, flags);
    raw.put32(sb::JOURNAL_INUM, 0);
    raw.put32(sb::JOURNAL_DEV, 0x801);
    raw.bytes[sb::JOURNAL_UUID..sb::JOURNAL_UUID + 16].fill(9);
    let error = refusal(&raw.disk());
    assert!(matches!(error, MountError::Journal(_)), "{error}");
}

#[test]
fn a_device_smaller_than_its_filesystem_is_refused() {
    for make in [Make::Ours(4096, 256), DEFAULT, OLD] {
        let mut image = make.disk(16 * MIB).to_image();
        image.truncate(16 << 20 >> 1);
        let disk = Arc::new(MemoryDisk::from_image(&image));
        let error = refusal(&disk);
        assert!(matches!(error, MountError::DeviceTooSmall { .. }), "{make:?}: {error}");
        for bytes in [0, 512, 1024, 1536, 2048, 4096, 65536] {
            refusal(&Arc::new(MemoryDisk::from_image(&image[..bytes])));
        }
    }
}

#[test]
fn what_is_no_ext4_is_refused() {
    let blank = Arc::new(MemoryDisk::new(16 * MIB));
    assert!(matches!(refusal(&blank), MountError::NotExt4));
    assert_eq!(probe(&*blank).unwrap(), Probe::Blank);
    let noise = Arc::new(MemoryDisk::from_image(&pattern(1, 4 << 20)));
    assert!(matches!(refusal(&noise), MountError::NotExt4));
    assert!(matches!(probe(&*noise).unwrap(), Probe::Unknown(_)));
    // One byte in the middle of nowhere is somebody's data; where is told.
    for at in [0_u64, 512, 65536 + 64, 8 * MIB, 16 * MIB - 512] {
        let disk = Arc::new(MemoryDisk::new(16 * MIB));
        let mut sector = [0; 512];
        sector[7] = 1;
        disk.write(at / 512, &sector).unwrap();
        assert!(matches!(refusal(&disk), MountError::NotExt4));
        if !(MIB..=15 * MIB).contains(&at) {
            assert!(matches!(probe(&*disk).unwrap(), Probe::Unknown(_)), "{at}");
        }
    }
}

#[test]
fn a_superblock_with_a_wrong_checksum_is_refused() {
    for at in [0x4, 0x18, 0x28, 0x68, 0x174, 0x3fc] {
        let mut image = DEFAULT.disk(8 * MIB).to_image();
        image[1024 + at] ^= 4;
        let error = refusal(&Arc::new(MemoryDisk::from_image(&image)));
        assert!(matches!(error, MountError::Checksum(_)), "{at:#x}: {error}");
    }
}

#[test]
fn block_sizes_beyond_a_page_are_refused_by_number() {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    mkfs_file(&["-b", "16384"], 64 * MIB, &image);
    let error = refusal(&load(&image));
    assert!(matches!(error, MountError::BlockSize(16384)), "{error}");
}

#[test]
fn impossible_superblocks_are_refused() {
    let raw = plain();
    let fields: [(usize, u32); 14] = [
        (0x0, 0),
        (0x0, 123),
        (0x4, 0),
        (0x4, u32::MAX),
        (0x14, 7),
        (0x18, 40),
        (0x20, 0),
        (0x20, 7),
        (0x20, 0x8000_0000),
        (0x28, 0),
        (0x28, 0x8000_0000),
        (0x28, 13),
        (0x54, 0),
        (0x58, 3),
    ];
    for (at, value) in fields {
        let mut raw = raw.clone();
        raw.put32(1024 + at, value);
        refusal(&raw.disk());
    }
}

#[test]
fn a_read_only_disk_and_a_read_only_mount_change_nothing() {
    for make in [Make::Ours(4096, 256), DEFAULT, OLD] {
        let disk = make.disk(16 * MIB);
        let fs = mount(disk.clone());
        short::file(&*fs, "file", b"content").unwrap();
        short::make(&*fs, "link", NewKind::Symlink(b"file"), 0o777).unwrap();
        fs.unmount().unwrap();
        drop(fs);
        read_only_by_itself(&Arc::new(MemoryDisk::read_only(&disk.to_image())));
        let before = disk.to_image();
        let fs = mount_read_only(disk.clone());
        assert!(fs.is_read_only());
        assert_eq!(short::mkdir(&*fs, "d").map(drop).map_err(|error| error.errno()), Err(Errno::EROFS));
        assert_eq!(short::read(&*fs, "file").unwrap(), b"content");
        fs.unmount().unwrap();
        drop(fs);
        assert!(disk.to_image() == before);
    }
}
