//! Logs to replay that lie: blocks to overwrite that are no one's to overwrite, circles, counts, and superblocks of journals.

use super::{Case, Craft, Then};
use crate::common::raw::{group, sb};

const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;
const SAME_UUID: u32 = 2;
const LAST: u32 = 8;
const ESCAPED: u32 = 1;
/// The number of the first transaction.
const SEQUENCE: u32 = 77;

/// Writes a log, block by block.
struct Log<'a> {
    craft: &'a mut Craft,
    next: u32,
}

impl<'a> Log<'a> {
    /// An empty log that asks to be replayed.
    fn new(craft: &'a mut Craft) -> Self {
        let flags = craft.raw.u32(sb::INCOMPAT) | 4;
        craft.raw.put32(sb::INCOMPAT, flags);
        let mut log = Self { craft, next: 1 };
        for (field, value) in [(0x18, SEQUENCE), (0x1c, 1), (0x20, 0), (0x28, 1)] {
            log.superblock(field, value);
        }
        log
    }

    fn put(&mut self, at: usize, value: u32) {
        self.craft.raw.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// A field of the journal's superblock.
    fn superblock(&mut self, field: usize, value: u32) {
        let at = self.craft.raw.block(self.craft.raw.file_block(8, 0)) + field;
        self.put(at, value);
    }

    /// The next block of the log, made zero.
    fn block(&mut self) -> usize {
        let at = self.craft.raw.block(self.craft.raw.file_block(8, self.next));
        let size = self.craft.raw.block_size;
        self.craft.raw.bytes[at..at + size].fill(0);
        self.next += 1;
        at
    }

    fn header(&mut self, kind: u32, sequence: u32) -> usize {
        let at = self.block();
        self.put(at, 0xc03b_3998);
        self.put(at + 4, kind);
        self.put(at + 8, sequence);
        at
    }

    /// A descriptor block with these tags: block number and flags.
    fn descriptor(&mut self, sequence: u32, tags: &[(u32, u32)]) -> usize {
        let at = self.header(DESCRIPTOR, sequence);
        for (index, (block, flags)) in tags.iter().enumerate() {
            self.put(at + 12 + index * 8, *block);
            self.put(at + 16 + index * 8, *flags);
        }
        at
    }

    fn data(&mut self, byte: u8) {
        let at = self.block();
        let size = self.craft.raw.block_size;
        self.craft.raw.bytes[at..at + size].fill(byte);
    }

    fn revoke(&mut self, sequence: u32, count: u32, blocks: &[u32]) {
        let at = self.header(REVOKE, sequence);
        self.put(at + 12, count);
        for (index, block) in blocks.iter().enumerate() {
            self.put(at + 16 + index * 4, *block);
        }
    }

    fn commit(&mut self, sequence: u32) {
        self.header(COMMIT, sequence);
    }

    /// A transaction that writes one block over.
    fn overwrite(&mut self, block: u32, byte: u8) {
        self.descriptor(SEQUENCE, &[(block, SAME_UUID | LAST)]);
        self.data(byte);
        self.commit(SEQUENCE);
    }
}

fn overwrite(craft: &mut Craft, what: &str, byte: u8) {
    let block = craft.block_of(what);
    Log::new(craft).overwrite(block, byte);
}

pub(super) const CASES: &[Case] = &[
    ("a log that zeroes the superblock", |c| overwrite(c, "the superblock", 0), Then::Ends),
    ("a log that fills the descriptors", |c| overwrite(c, "descriptors", 0xff), Then::Ends),
    ("a log that zeroes the descriptors", |c| overwrite(c, "descriptors", 0), Then::Ends),
    ("a log that fills a bitmap of blocks", |c| overwrite(c, "block bitmap 0", 0xff), Then::Ends),
    ("a log that zeroes a bitmap of inodes", |c| overwrite(c, "inode bitmap 0", 0), Then::Ends),
    ("a log that fills the inode table", |c| overwrite(c, "inode table 0", 0xff), Then::Ends),
    ("a log that zeroes the inode table", |c| overwrite(c, "inode table 0", 0), Then::Ends),
    ("a log that zeroes the root", |c| overwrite(c, "the root", 0), Then::Ends),
    ("a log that fills the root", |c| overwrite(c, "the root", 0xee), Then::Ends),
    ("a log that overwrites its own superblock", |c| overwrite(c, "the journal", 0), Then::Ends),
    (
        "a log that overwrites itself",
        |c| {
            let block = c.raw.file_block(8, 3);
            Log::new(c).overwrite(block, 0);
        },
        Then::Ends,
    ),
    ("a log that writes past the end", |c| Log::new(c).overwrite(u32::MAX, 1), Then::Ends),
    ("a log that writes just past the end", |c| Log::new(c).overwrite(12 << 10, 1), Then::Ends),
    ("a log that writes block 0", |c| Log::new(c).overwrite(0, 1), Then::Ends),
    (
        "a log of tags without an end",
        |c| {
            let block = c.block_of("file");
            let mut log = Log::new(c);
            log.descriptor(SEQUENCE, &[(block, SAME_UUID); 126]);
            (0..126).for_each(|_| log.data(7));
            log.commit(SEQUENCE);
        },
        Then::Ends,
    ),
    (
        "a log whose tags say more than its ring holds",
        |c| {
            let block = c.block_of("file");
            let mut log = Log::new(c);
            log.superblock(0x10, 5);
            log.descriptor(SEQUENCE, &[(block, SAME_UUID); 126]);
        },
        Then::Ends,
    ),
    (
        "a log of descriptors in a circle",
        |c| {
            let block = c.block_of("file");
            let mut log = Log::new(c);
            log.superblock(0x10, 9);
            for _ in 0..4 {
                log.descriptor(SEQUENCE, &[(block, SAME_UUID | LAST)]);
                log.data(7);
            }
        },
        Then::Ends,
    ),
    (
        "a log of commits in a circle",
        |c| {
            let mut log = Log::new(c);
            log.superblock(0x10, 5);
            for number in 0..4 {
                log.commit(SEQUENCE + number);
            }
        },
        Then::Ends,
    ),
    (
        "a transaction that never ends",
        |c| {
            let block = c.block_of("the root");
            let mut log = Log::new(c);
            log.descriptor(SEQUENCE, &[(block, SAME_UUID | LAST)]);
            log.data(0);
        },
        Then::Ends,
    ),
    (
        "numbers of transactions that wrap",
        |c| {
            let block = c.block_of("file");
            let mut log = Log::new(c);
            log.superblock(0x18, u32::MAX);
            for sequence in [u32::MAX, 0, 1] {
                log.descriptor(sequence, &[(block, SAME_UUID | LAST)]);
                log.data(7);
                log.commit(sequence);
            }
        },
        Then::Ends,
    ),
    (
        "a block that was escaped and is another journal",
        |c| {
            let block = c.block_of("the root");
            let mut log = Log::new(c);
            log.descriptor(SEQUENCE, &[(block, SAME_UUID | LAST | ESCAPED)]);
            log.header(COMMIT, SEQUENCE);
            log.commit(SEQUENCE);
        },
        Then::Ends,
    ),
    (
        "tags whose UUID leaves the block",
        |c| {
            let block = c.block_of("file");
            let mut log = Log::new(c);
            log.descriptor(SEQUENCE, &[(block, 0); 126]);
            (0..126).for_each(|_| log.data(7));
            log.commit(SEQUENCE);
        },
        Then::Ends,
    ),
    (
        "unknown flags of a tag",
        |c| {
            let block = c.block_of("file");
            let mut log = Log::new(c);
            log.descriptor(SEQUENCE, &[(block, 0xffff_fff0 | LAST | SAME_UUID)]);
            log.data(7);
            log.commit(SEQUENCE);
        },
        Then::Ends,
    ),
    ("a revoke block of no bytes", |c| revoked(c, 0), Then::Ends),
    ("a revoke block smaller than its header", |c| revoked(c, 15), Then::Ends),
    ("a revoke block of a broken number", |c| revoked(c, 18), Then::Ends),
    ("a revoke block larger than a block", |c| revoked(c, 1028), Then::Ends),
    ("a revoke block of four GiB", |c| revoked(c, u32::MAX), Then::Ends),
    (
        "a revoke block of everything",
        |c| {
            let blocks: Vec<u32> = (0..252).map(|index| index * 0x0101_0101).collect();
            let mut log = Log::new(c);
            log.revoke(SEQUENCE, 16 + 252 * 4, &blocks);
            log.commit(SEQUENCE);
        },
        Then::Ends,
    ),
    ("a journal of no blocks", |c| Log::new(c).superblock(0x10, 0), Then::Refused),
    ("a journal of one block", |c| Log::new(c).superblock(0x10, 1), Then::Refused),
    ("a journal larger than its file", |c| Log::new(c).superblock(0x10, u32::MAX), Then::Refused),
    ("a journal that begins in its superblock", |c| Log::new(c).superblock(0x14, 0), Then::Refused),
    ("a journal that begins past its end", |c| Log::new(c).superblock(0x14, u32::MAX), Then::Refused),
    ("a log that starts past the end", |c| Log::new(c).superblock(0x1c, u32::MAX), Then::Refused),
    ("a journal of blocks of no bytes", |c| Log::new(c).superblock(0xc, 0), Then::Refused),
    ("a journal of larger blocks", |c| Log::new(c).superblock(0xc, 4096), Then::Refused),
    ("a journal of an unknown version", |c| Log::new(c).superblock(0x4, 9), Then::Refused),
    ("a journal of the first version", |c| Log::new(c).superblock(0x4, 3), Then::Ends),
    ("a journal with unknown features", |c| Log::new(c).superblock(0x28, 0x8000), Then::Refused),
    ("a journal with features that forbid", |c| Log::new(c).superblock(0x2c, 1), Then::Refused),
    ("a journal with two kinds of checksums", |c| Log::new(c).superblock(0x28, 0x18), Then::Refused),
    ("a journal with checksums that nobody made", |c| Log::new(c).superblock(0x28, 0x10), Then::Refused),
    ("a journal with fast commits", |c| Log::new(c).superblock(0x28, 0x20), Then::Refused),
    ("a journal that was given up", |c| Log::new(c).superblock(0x20, 5), Then::Ends),
    (
        "a log that changes where the inode table is",
        |c| {
            // The descriptors as they are, but for one table, which now lies over the journal.
            let (block, journal) = (c.block_of("descriptors"), c.block_of("the journal"));
            let from = c.raw.block(block);
            let size = c.raw.block_size;
            let copy = c.raw.bytes[from..from + size].to_vec();
            let mut log = Log::new(c);
            log.descriptor(SEQUENCE, &[(block, SAME_UUID | LAST)]);
            let at = log.block();
            log.craft.raw.bytes[at..at + size].copy_from_slice(&copy);
            log.craft.raw.put32(at + group::INODE_TABLE, journal);
            log.commit(SEQUENCE);
        },
        Then::Ends,
    ),
];

fn revoked(craft: &mut Craft, count: u32) {
    let block = craft.block_of("file");
    let mut log = Log::new(craft);
    log.revoke(SEQUENCE, count, &[block; 20]);
    log.commit(SEQUENCE);
}
