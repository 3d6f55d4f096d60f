use std::format;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::string::String;
use std::{eprintln, vec};

use block::{BlockDevice, MemoryDisk};

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new(tag: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strata-recovery-{}-{tag}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(script: &str, directory: &Path) -> Option<String> {
    let output = Command::new("sh").arg("-ec").arg(script).current_dir(directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        eprintln!("{script}: {output:?}");
    }
    output.status.success().then_some(text)
}

/// An image whose journal Linux left full of transactions: made, changed while mounted, and copied before the unmount.
/// `None` where that is not allowed here.
fn dirty_image(scratch: &Scratch, mkfs: &str, mount: &str) -> Option<Vec<u8>> {
    let script = format!(
        "truncate -s 24M image; mkfs.ext4 -q -F {mkfs} image; mkdir -p mnt; unshare -m sh -ec '
           mount -o loop,commit=1000{mount} image mnt
           cd mnt; mkdir a b; for i in $(seq 300); do echo $i > a/file$i; done; sync
           for i in $(seq 50); do mkdir b/dir$i; ln -s target$i b/link$i; done; sync
           rm -r b; sync; mkdir c; for i in $(seq 100); do cp a/file$i c/; done; rm a/file1*; sync
           printf \"\\300\\073\\071\\230escape\" > c/magic; sync
           cd ..; cp --sparse=never image dirty; umount mnt'"
    );
    // How much Linux leaves in the log depends on when it last wrote the log back by itself.
    for _ in 0..20 {
        run(&script, &scratch.0)?;
        let image = fs::read(scratch.0.join("dirty")).unwrap();
        let (map, size) = (journal_map(scratch), block_size(&image));
        let done = recover(&MemoryDisk::from_image(&image), &map, size, (image.len() / size) as u64).unwrap();
        if done.transactions > 0 && done.blocks > 0 {
            return Some(image);
        }
    }
    panic!("Linux leaves nothing in the log");
}

/// The journal's extents as debugfs tells them.
fn journal_map(scratch: &Scratch) -> JournalMap {
    let text = run("debugfs -R 'stat <8>' dirty 2>/dev/null", &scratch.0).unwrap();
    let list = text.split("EXTENTS:").nth(1).unwrap();
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => (number(first), number(last)),
        None => (number(text), number(text)),
    };
    let mut extents = Vec::new();
    for part in list.split(',').filter(|part| part.trim().starts_with('(') && !part.contains("ETB")) {
        let (logical, physical) = part.trim().trim_start_matches('(').split_once("):").unwrap();
        let ((logical, last), (physical, _)) = (range(logical), range(physical));
        extents.push(JournalExtent { logical: logical as u32, physical, blocks: (last - logical + 1) as u32 });
    }
    let image = fs::read(scratch.0.join("dirty")).unwrap();
    JournalMap { extents, block_size: block_size(&image) }
}

fn block_size(image: &[u8]) -> usize {
    1024 << crate::bytes::le32(image, 1024 + 0x18)
}

const VARIANTS: &[(&str, &str, &str)] = &[
    ("default", "", ""),
    ("1k", "-b 1024", ""),
    ("32bit", "-O ^64bit", ""),
    ("plain", "-O ^metadata_csum", ""),
    ("commit-sum", "-O ^metadata_csum,^64bit -b 2048", ",journal_checksum"),
    ("data", "-b 1024", ",data=journal"),
];

#[test]
fn a_journal_of_linux_is_replayed_to_the_same_bytes_as_e2fsck_does() {
    for &(tag, mkfs, mount) in VARIANTS {
        let scratch = Scratch::new(tag);
        let Some(image) = dirty_image(&scratch, mkfs, mount) else {
            eprintln!("SKIPPED: loop mounts are not allowed here");
            return;
        };
        let (map, block_size) = (journal_map(&scratch), block_size(&image));
        let disk = MemoryDisk::from_image(&image);
        recover(&disk, &map, block_size, (image.len() / block_size) as u64).unwrap();

        run("e2fsck -E journal_only -y dirty", &scratch.0).unwrap();
        let expected = fs::read(scratch.0.join("dirty")).unwrap();
        let ours = disk.to_image();
        let in_journal = |block: u64| {
            map.extents
                .iter()
                .any(|extent| (extent.physical..extent.physical + u64::from(extent.blocks)).contains(&block))
        };
        for (index, (left, right)) in ours.chunks(block_size).zip(expected.chunks(block_size)).enumerate() {
            // The superblock's flags and times are not the journal's work.
            let is_superblock = index == 1024 / block_size;
            assert!(is_superblock || in_journal(index as u64) || left == right, "{tag}: block {index} differs");
        }
        // Again is nothing.
        assert_eq!(recover(&disk, &map, block_size, (image.len() / block_size) as u64).unwrap().blocks, 0);
    }
}

#[test]
fn a_recovery_cut_off_anywhere_is_finished_by_the_next() {
    let scratch = Scratch::new("cut");
    let Some(image) = dirty_image(&scratch, "-b 1024", "") else {
        eprintln!("SKIPPED: loop mounts are not allowed here");
        return;
    };
    let (map, size) = (journal_map(&scratch), block_size(&image));
    let blocks = (image.len() / size) as u64;
    let whole = MemoryDisk::from_image(&image);
    recover(&whole, &map, size, blocks).unwrap();
    let whole = whole.to_image();
    for keep in [1, 5, 17, 40] {
        // A disk on which only every keep-th of the written blocks arrived, and no journal superblock.
        let mut partial = image.clone();
        let (superblock, _) = map.physical(0).unwrap();
        for (index, (old, new)) in partial.chunks_mut(size).zip(whole.chunks(size)).enumerate() {
            if index % keep == 0 && index as u64 != superblock {
                old.copy_from_slice(new);
            }
        }
        let disk = MemoryDisk::from_image(&partial);
        recover(&disk, &map, size, blocks).unwrap();
        assert!(disk.to_image() == whole);
    }
}

#[test]
fn a_damaged_journal_gives_an_error_or_a_prefix_and_never_a_panic() {
    let scratch = Scratch::new("hostile");
    let Some(image) = dirty_image(&scratch, "-b 1024", "") else {
        eprintln!("SKIPPED: loop mounts are not allowed here");
        return;
    };
    let (map, size) = (journal_map(&scratch), block_size(&image));
    let (start, _) = map.physical(0).unwrap();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut refused = 0;
    for round in 0..400 {
        let disk = MemoryDisk::from_image(&image);
        for _ in 0..1 + round % 6 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let reach = if round % 2 == 0 { 1024 } else { 300 * 1024 };
            let at = start * size as u64 + random % reach;
            let mut sector = vec![0; 512];
            disk.read(at / 512, &mut sector).unwrap();
            sector[(at % 512) as usize] ^= 1 << (random >> 60 & 7);
            disk.write(at / 512, &sector).unwrap();
        }
        let before = disk.to_image();
        if recover(&disk, &map, size, (image.len() / size) as u64).is_err() {
            refused += 1;
            assert!(disk.to_image() == before, "a refused journal leaves the disk alone");
        }
    }
    assert!(refused > 100);
}
