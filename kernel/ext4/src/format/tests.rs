use std::format;
use std::process::Command;
use std::string::String;

use base::time::Timestamp;
use block::{BlockDevice, MemoryDisk};

use super::*;

fn options(block_size: u32, inode_size: u16) -> FormatOptions {
    let now = Timestamp { secs: 1_800_000_000, nanos: 5 };
    FormatOptions { block_size, inode_size, ..FormatOptions::new([0x5a; 32], now) }
}

/// What `e2fsck -fn` says of a disk; empty if it finds nothing.
fn e2fsck(disk: &MemoryDisk, tag: &str) -> String {
    let path = std::env::temp_dir().join(format!("strata-format-{}-{tag}.img", std::process::id()));
    std::fs::write(&path, disk.to_image()).unwrap();
    let output = Command::new("e2fsck").arg("-fn").arg(&path).output().expect("e2fsck is installed");
    std::fs::remove_file(&path).unwrap();
    if output.status.success() { String::new() } else { format!("{output:?}") }
}

#[test]
fn a_new_filesystem_satisfies_e2fsck() {
    for block_size in [1024, 2048, 4096] {
        for inode_size in [128, 256] {
            for mib in [8, 9, 33, 64, 300, 512] {
                let disk = MemoryDisk::new((mib << 20) + 3072);
                match format(&disk, &options(block_size, inode_size)) {
                    Ok(()) => {}
                    Err(FormatError::TooSmall { .. }) if mib < 16 => continue,
                    Err(error) => panic!("{block_size} {inode_size} {mib}: {error}"),
                }
                let complaint = e2fsck(&disk, &format!("{block_size}-{inode_size}-{mib}"));
                assert_eq!(complaint, "", "{block_size} {inode_size} {mib}");
            }
        }
    }
}

#[test]
fn a_disk_with_one_byte_anywhere_is_refused_and_left_alone() {
    for at in [0u64, 511, 1080, (2 << 20) + 300, (37 << 20) + 5, (64 << 20) - 1, (63 << 20) + 7] {
        let disk = MemoryDisk::new(64 << 20);
        let mut sector = [0; SECTOR_SIZE];
        sector[(at % 512) as usize] = 1;
        disk.write(at / 512, &sector).unwrap();
        let before = disk.to_image();
        assert_eq!(format(&disk, &options(4096, 256)), Err(FormatError::NotBlank));
        assert!(disk.to_image() == before);
    }
}

#[test]
fn data_longer_than_one_part_in_eight_thousand_of_a_large_disk_is_found_wherever_it_lies() {
    for at in (1 << 20..(4 << 30) - (2 << 20)).step_by(599_999_488) {
        let disk = MemoryDisk::new(4 << 30);
        disk.write(at / 512, &[7; 532 << 10]).unwrap();
        assert!(!is_blank(&disk).unwrap(), "at {at}");
    }
}

#[test]
fn a_copy_of_a_superblock_is_found_where_filesystems_keep_them() {
    let mib = 1 << 20;
    // The first partition, its filesystem's superblock, btrfs's second one, ext4's at groups 1 and 3 of blocks of 1 KiB and of
    // 4 KiB, XFS's second group, NTFS's middle.
    for at in [
        mib,
        mib + 1024,
        mib + (64 << 10),
        64 * mib,
        8193 << 10,
        24577 << 10,
        128 * mib,
        384 * mib,
        1024 * mib,
        2048 * mib,
    ] {
        let disk = MemoryDisk::new(4096 * mib);
        disk.write(at / 512, &[1; 512]).unwrap();
        assert!(!is_blank(&disk).unwrap(), "at {at}");
    }
}

#[test]
fn a_disk_of_any_size_may_be_looked_at() {
    for sectors in [0, 1, 7, 8, 2047, 2048, 2049, 4607, 4608, 4609, 8 << 11, (8 << 11) + 1] {
        let disk = MemoryDisk::new(sectors * 512);
        assert!(is_blank(&disk).unwrap(), "{sectors}");
        if sectors > 0 {
            disk.write(sectors - 1, &[1; 512]).unwrap();
            assert!(!is_blank(&disk).unwrap(), "{sectors}");
        }
    }
}

#[test]
fn a_disk_too_small_is_refused_with_both_sizes() {
    let disk = MemoryDisk::new(1 << 20);
    let error = format(&disk, &options(4096, 256)).unwrap_err();
    assert_eq!(format!("{error}"), "the disk has 1024 KiB, a filesystem needs 8192 KiB");
}

#[test]
fn backups_lie_where_sparse_super_puts_them() {
    let groups: Vec<u64> = (0..130).filter(|&group| layout::has_backup(group)).collect();
    assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
}
