//! Disks as an appliance meets them.

use std::sync::Arc;

use block::{BlockDevice, MemoryDisk, RecordingDisk, Survival, WriteCache};
use ext4::{FormatOptions, MountMode, MountOptions};
use storage::{Changes, Prepared, Refusal};
use vfs::{FileSystem, FsContext, Name, NewKind, NewNode, Timestamp};

fn context() -> FsContext {
    FsContext { dev: 7, clock: Arc::new(|| Timestamp::EPOCH) }
}

fn new() -> FormatOptions {
    FormatOptions::new([7; 32], Timestamp::EPOCH)
}

fn disk(mib: u64) -> Arc<MemoryDisk> {
    Arc::new(MemoryDisk::new(mib << 20))
}

#[test]
fn a_blank_disk_is_formatted_once_and_takes_changes() {
    let disk = disk(16);
    assert_eq!(storage::prepare(&*disk, new), Ok(Prepared::Formatted));
    assert_eq!(storage::prepare(&*disk, new), Ok(Prepared::Found));
    let (fs, changes) = storage::mount(disk, context(), MountOptions::default(), &[]).unwrap();
    let Changes::Writable { upper, .. } = changes else { panic!("a new disk can be written") };
    upper.root.create(Name::new(b"a").unwrap(), &NewNode::new(NewKind::File, 0o644)).unwrap();
    fs.unmount().unwrap();
}

#[test]
fn a_disk_with_anything_else_on_it_is_left_untouched() {
    let disk = disk(16);
    disk.write(200, &[0x5a; 512]).unwrap();
    let before: Vec<u8> = read(&*disk);
    assert!(matches!(storage::prepare(&*disk, new), Err(Refusal::Untouched(_))));
    assert_eq!(read(&*disk), before);
}

fn read(disk: &dyn BlockDevice) -> Vec<u8> {
    let mut bytes = vec![0; (disk.capabilities().sectors * 512) as usize];
    disk.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_blank_disk_that_is_too_small_is_unfit() {
    assert!(matches!(storage::prepare(&MemoryDisk::new(1 << 20), new), Err(Refusal::Unfit(_))));
}

#[test]
fn a_disk_mounted_read_only_shows_the_changes_it_has() {
    let disk = disk(16);
    storage::prepare(&*disk, new).unwrap();
    let read_only = MountOptions { mode: MountMode::ReadOnly, ..MountOptions::default() };
    let refused = storage::mount(disk.clone(), context(), read_only, &[]).err().unwrap();
    assert_eq!(refused, Refusal::Untouched("it is read-only and holds no changes".into()));

    let (fs, _) = storage::mount(disk.clone(), context(), MountOptions::default(), &[]).unwrap();
    fs.unmount().unwrap();
    let (_fs, changes) = storage::mount(disk, context(), read_only, &[]).unwrap();
    assert!(matches!(changes, Changes::ReadOnly(_)));
}

#[test]
fn changes_that_are_read_only_lie_above_the_firmware() {
    let firmware: Arc<dyn FileSystem> = ramfs::RamFs::new(context(), &ramfs::Options::default()).unwrap();
    let above = ramfs::RamFs::new(context(), &ramfs::Options::default()).unwrap();
    let changes = Changes::ReadOnly(fs_overlay::Layer::of(above.clone()));
    let layers = storage::stack([firmware], Some(changes));
    assert!(layers.upper.is_none());
    let top: Arc<dyn FileSystem> = above;
    assert!(Arc::ptr_eq(&layers.lowers[0].fs, &top));
}

#[test]
fn a_format_may_be_cut_anywhere_and_the_next_one_succeeds() {
    let start = disk(16);
    let recorder = RecordingDisk::new(Arc::new(start.snapshot()), WriteCache::Flush);
    assert_eq!(storage::prepare(&recorder, new), Ok(Prepared::Formatted));
    let recording = recorder.take();
    let mut again = 0;
    for events in 0..=recording.len() {
        let seeds = (1..=8).map(Survival::Some);
        for survival in [Survival::Everything, Survival::Nothing].into_iter().chain(seeds) {
            let disk = Arc::new(start.snapshot());
            recording.cut(&*disk, events, survival).unwrap();
            let at = format!("cut after {events} of {} requests, {survival:?}", recording.len());
            // Another time, so other bytes.
            let later = || FormatOptions::new([9; 32], Timestamp::from_secs(1_700_000_000));
            match storage::prepare(&*disk, later) {
                Ok(Prepared::Formatted) => again += 1,
                Ok(Prepared::Found) => {}
                Err(why) => panic!("{at}: {why}"),
            }
            let (fs, changes) = storage::mount(disk.clone(), context(), MountOptions::default(), &[])
                .unwrap_or_else(|why| panic!("{at}: {why}"));
            let Changes::Writable { upper, .. } = changes else { panic!("{at}: a new disk can be written") };
            upper.root.create(Name::new(b"a").unwrap(), &NewNode::new(NewKind::File, 0o644)).unwrap();
            fs.unmount().unwrap();
            assert!(read(&*disk)[..1024].iter().all(|&byte| byte == 0), "{at}: the mark is left");
            assert_eq!(storage::prepare(&*disk, new), Ok(Prepared::Found), "{at}");
        }
    }
    assert!(again > 20);
}

#[test]
fn a_mark_of_a_format_says_nothing_of_a_disk_that_was_used_since() {
    let start = disk(16);
    let recorder = RecordingDisk::new(Arc::new(start.snapshot()), WriteCache::Flush);
    storage::prepare(&recorder, new).unwrap();
    let recording = recorder.take();
    // All but the last request, which clears the mark, and its flush.
    let marked = start.snapshot();
    recording.cut(&marked, recording.len() - 2, Survival::Everything).unwrap();
    assert!(read(&marked)[..512].iter().any(|&byte| byte != 0));
    // A superblock that neither is what the format wrote nor is whole.
    let mut sector = [0; 512];
    marked.read(2, &mut sector).unwrap();
    sector[0] ^= 1;
    marked.write(2, &sector).unwrap();
    let before = read(&marked);
    assert!(matches!(storage::prepare(&marked, new), Err(Refusal::Untouched(_))));
    assert_eq!(read(&marked), before);
}
