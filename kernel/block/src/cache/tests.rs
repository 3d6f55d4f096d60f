use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::{CountingDisk, Fault, FaultDisk, MemoryDisk};

const BLOCK: usize = 4096;

fn numbered(blocks: usize) -> Vec<u8> {
    (0..blocks).flat_map(|block| vec![(block % 251) as u8; BLOCK]).collect()
}

fn cache_over(disk: Arc<dyn BlockDevice>) -> BufferCache {
    BufferCache::new(disk, BLOCK, 1 << 20).unwrap()
}

#[test]
fn a_block_is_read_once_and_found_again() {
    let disk = Arc::new(CountingDisk::new(Arc::new(MemoryDisk::from_image(&numbered(16)))));
    let cache = cache_over(disk.clone());
    assert!(cache.get(3).is_none());
    assert!(cache.read(3).unwrap().read().iter().all(|&b| b == 3));
    assert_eq!(cache.read(3).unwrap().block(), 3);
    assert_eq!(disk.take().reads, 1);
    assert_eq!(cache.read(16).unwrap_err(), Errno::EIO);
}

#[test]
fn a_filled_range_comes_in_large_requests_of_one_batch() {
    let disk = Arc::new(CountingDisk::new(Arc::new(MemoryDisk::from_image(&numbered(512)))));
    let cache = BufferCache::new(disk.clone(), BLOCK, 4 << 20).unwrap();
    cache.read(40).unwrap();
    disk.take();
    cache.fill(&[(0, 256)]).unwrap();
    let counts = disk.take();
    assert!((8..=10).contains(&counts.reads), "{counts:?}");
    assert_eq!(counts.most_reads_in_flight, counts.reads);
    let mut buf = vec![0; 3 * BLOCK];
    let mut at = 0;
    while at < buf.len() {
        let got = cache.copy_out(38 + (at / BLOCK) as u64, at % BLOCK, &mut buf[at..]);
        assert!(got > 0);
        at += got;
    }
    assert_eq!(buf, numbered(512)[38 * BLOCK..41 * BLOCK]);
    assert_eq!(disk.take().reads, 0);
}

#[test]
fn queued_blocks_are_written_back_sorted_and_joined() {
    let memory = Arc::new(MemoryDisk::new(1 << 21));
    let disk = Arc::new(CountingDisk::new(memory.clone()));
    let cache = cache_over(disk.clone());
    let image = numbered(512);
    for block in (0..64).rev() {
        cache.store(block, &image[block as usize * BLOCK..][..BLOCK], Dirty::Queued(1)).unwrap();
    }
    cache.store(200, &image[200 * BLOCK..300 * BLOCK], Dirty::Queued(1)).unwrap();
    assert_eq!(cache.queued_bytes(), 164 * BLOCK);
    cache.write_back();
    assert_eq!(cache.queued_bytes(), 0);
    let counts = disk.take();
    assert!(counts.writes <= 7, "{counts:?}");
    assert_eq!(counts.bytes_written, 164 * BLOCK as u64);
    let written = memory.to_image();
    assert_eq!(written[..64 * BLOCK], image[..64 * BLOCK]);
    assert_eq!(written[200 * BLOCK..300 * BLOCK], image[200 * BLOCK..300 * BLOCK]);
    cache.write_back();
    assert_eq!(disk.take().writes, 0);
}

#[test]
fn held_blocks_wait_for_their_owner() {
    let memory = Arc::new(MemoryDisk::new(1 << 20));
    let cache = cache_over(memory.clone());
    let buffers = [cache.create(5).unwrap(), cache.create(6).unwrap()];
    for buffer in &buffers {
        cache.write(buffer, Dirty::Held).fill(0xaa);
    }
    cache.write_back();
    assert!(memory.to_image().iter().all(|&b| b == 0));
    cache.write_buffers(&buffers).unwrap();
    assert!(memory.to_image()[5 * BLOCK..7 * BLOCK].iter().all(|&b| b == 0xaa));
    assert!(!buffers[0].is_dirty());
}

#[test]
fn clean_blocks_make_room_and_dirty_ones_stay() {
    let memory = Arc::new(MemoryDisk::from_image(&numbered(2048)));
    let cache = BufferCache::new(memory, BLOCK, 64 * BLOCK).unwrap();
    cache.store(7, &[0xee; BLOCK], Dirty::Queued(1)).unwrap();
    for block in 100..1000 {
        cache.read(block).unwrap();
    }
    assert!(cache.bytes() <= 64 * BLOCK, "{}", cache.bytes());
    assert_eq!(cache.get(7).unwrap().read()[0], 0xee);
    cache.write_back();
    cache.drop_clean();
    assert_eq!(cache.bytes(), 0);
    assert_eq!(cache.read(7).unwrap().read()[0], 0xee);
}

#[test]
fn a_failed_read_leaves_nothing() {
    let memory = Arc::new(MemoryDisk::from_image(&numbered(64)));
    let disk = Arc::new(FaultDisk::new(memory.clone()));
    let cache = cache_over(disk.clone());
    disk.set(Fault::ReadSector(8 * 5));
    assert_eq!(cache.fill(&[(0, 32)]).unwrap_err(), Errno::EIO);
    assert!(cache.get(0).is_none());
    assert_eq!(cache.read(5).unwrap_err(), Errno::EIO);
    assert!(cache.read(4).is_ok());
}

#[test]
fn what_the_device_does_not_take_is_noted_for_its_owner_and_all_else_is_written() {
    let memory = Arc::new(MemoryDisk::new(1 << 20));
    let disk = Arc::new(FaultDisk::new(memory.clone()));
    let cache = cache_over(disk.clone());
    // Neighbours of three owners, copied together into one request; and one alone.
    for (owner, block) in [(1, 8), (2, 9), (3, 10), (4, 40)] {
        cache.store(block, &[owner as u8; BLOCK], Dirty::Queued(owner)).unwrap();
    }
    disk.set(Fault::WriteSector(8 * 9 + 3));
    cache.write_back();
    assert_eq!(cache.take_failures(), [FailedWrite { owner: 2, block: 9, blocks: 1 }]);
    assert_eq!((cache.take_failures().len(), cache.queued_bytes()), (0, 0));
    let first_bytes = |memory: &MemoryDisk| [8, 9, 10, 40].map(|block| memory.to_image()[block * BLOCK]);
    assert_eq!(first_bytes(&memory), [1, 0, 3, 4]);
    // It is in memory as it was written, and written again when it changes.
    assert_eq!(cache.get(9).unwrap().read()[0], 2);
    disk.clear();
    cache.store(9, &[5; BLOCK], Dirty::Queued(2)).unwrap();
    cache.write_back();
    assert_eq!((cache.take_failures().len(), first_bytes(&memory)), (0, [1, 5, 3, 4]));
}

#[test]
fn held_blocks_that_the_device_does_not_take_stay_as_they_are() {
    let memory = Arc::new(MemoryDisk::new(1 << 20));
    let disk = Arc::new(FaultDisk::new(memory.clone()));
    let cache = cache_over(disk.clone());
    let buffers = [cache.create(9).unwrap()];
    cache.write(&buffers[0], Dirty::Held).fill(1);
    disk.set(Fault::WriteSector(8 * 9));
    assert_eq!(cache.write_buffers(&buffers).unwrap_err(), Errno::EIO);
    assert!(buffers[0].is_dirty());
    disk.clear();
    cache.write_back();
    assert_eq!(memory.to_image()[9 * BLOCK], 0);
    cache.write_buffers(&buffers).unwrap();
    assert_eq!(memory.to_image()[9 * BLOCK], 1);
}

#[test]
fn forgotten_blocks_are_not_written() {
    let memory = Arc::new(MemoryDisk::new(1 << 20));
    let cache = cache_over(memory.clone());
    cache.store(10, &[1; 8 * BLOCK], Dirty::Queued(1)).unwrap();
    cache.forget(12, 2);
    assert_eq!(cache.queued_bytes(), 6 * BLOCK);
    cache.store(12, &[2; BLOCK], Dirty::Queued(1)).unwrap();
    cache.write_back();
    let image = memory.to_image();
    assert_eq!((image[11 * BLOCK], image[12 * BLOCK], image[13 * BLOCK], image[14 * BLOCK]), (1, 2, 0, 1));
}

#[test]
fn a_write_is_durable_once_a_flush_that_began_after_it_has_ended() {
    let disk = Arc::new(FaultDisk::new(Arc::new(MemoryDisk::new(1 << 20))));
    let cache = cache_over(disk.clone());
    assert!(cache.is_durable(0));
    let first = cache.epoch();
    assert!(!cache.is_durable(first));
    disk.set(Fault::Flushes);
    assert_eq!(cache.flush().unwrap_err(), Errno::EIO);
    assert!(!cache.is_durable(first));
    disk.clear();
    cache.flush().unwrap();
    assert!(cache.is_durable(first) && !cache.is_durable(cache.epoch()));
}

#[test]
fn data_without_a_place_is_kept_until_it_has_one_and_is_written_there() {
    let memory = Arc::new(MemoryDisk::new(1 << 21));
    let disk = Arc::new(CountingDisk::new(memory.clone()));
    let cache = cache_over(disk.clone());
    let image = numbered(512);
    let from = UNPLACED | 7 << 32;
    cache.store(from, &image[..40 * BLOCK], Dirty::Held).unwrap();
    cache.write_back();
    assert_eq!((cache.queued_bytes(), disk.take().writes), (0, 0));
    // Divided by its places, within a run and between runs; what was cached of a place before is of no interest.
    cache.read(105).unwrap();
    cache.place(from, 100, 10, 7).unwrap();
    cache.place(from + 10, 50, 30, 7).unwrap();
    assert!(cache.get(from).is_none() && cache.get(from + 39).is_none());
    assert_eq!(cache.queued_bytes(), 40 * BLOCK);
    cache.write_back();
    let written = memory.to_image();
    assert_eq!(written[100 * BLOCK..110 * BLOCK], image[..10 * BLOCK]);
    assert_eq!(written[50 * BLOCK..80 * BLOCK], image[10 * BLOCK..40 * BLOCK]);
    assert!(cache.place(from, 200, 1, 7).is_err(), "there is none");
}

#[test]
fn a_block_that_is_changed_while_others_are_written_back_is_not_forgotten() {
    use core::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    let memory = Arc::new(MemoryDisk::new(1 << 20));
    let cache = cache_over(memory.clone());
    let buffer = cache.read(9).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                cache.write_back();
            }
        });
        for round in 0..20_000_u32 {
            cache.write(&buffer, Dirty::Queued(1))[..4].copy_from_slice(&round.to_le_bytes());
            let begin = Instant::now();
            while buffer.is_dirty() {
                if begin.elapsed() > Duration::from_secs(60) {
                    done.store(true, Ordering::Relaxed);
                    panic!("round {round} is never written");
                }
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(memory.to_image()[9 * BLOCK..][..4], 19_999_u32.to_le_bytes());
}

#[test]
fn a_sync_flushes_once_for_what_was_written() {
    let disk = Arc::new(CountingDisk::new(Arc::new(MemoryDisk::new(1 << 20))));
    let cache = cache_over(disk.clone());
    cache.store(3, &[1; BLOCK], Dirty::Queued(1)).unwrap();
    assert!(!cache.is_synced());
    cache.write_back();
    assert!(!cache.is_synced());
    cache.sync().unwrap();
    cache.sync().unwrap();
    assert!(cache.is_synced());
    let counts = disk.take();
    assert_eq!((counts.writes, counts.flushes), (1, 1));
}

#[test]
fn one_changed_block_pins_its_whole_run_until_it_is_written() {
    let cache = cache_over(Arc::new(MemoryDisk::from_image(&numbered(128))));
    cache.fill(&[(0, 64)]).unwrap();
    assert_eq!(cache.pinned_bytes(), 0);
    for block in [3, 4, 40] {
        cache.store(block, &[1; BLOCK], Dirty::Queued(1)).unwrap();
    }
    assert_eq!((cache.queued_bytes(), cache.pinned_bytes()), (3 * BLOCK, 64 * BLOCK));
    cache.write_back();
    assert_eq!((cache.queued_bytes(), cache.pinned_bytes()), (0, 0));
}
