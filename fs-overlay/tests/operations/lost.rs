//! Data that the upper's disk does not take: whoever syncs is told, once, and no copy that is not whole appears.

use std::sync::Arc;

use block::{Fault, FaultDisk};
use fs_overlay::{Layer, Layers, Options, OverlayFs, SyncMode};
use vfs::{Errno, ErrorSequence, FileSystem, SyncKind, Told, sync_and_tell};

use crate::support::disk::Disk;
use crate::support::{Tree, context, ram};

/// What the disk refuses to write.
const BAD: [u8; 8] = *b"refused!";

/// A disk that does not take data which begins with `BAD`, with an upper on it and a file of the lower.
fn over_a_bad_disk(options: Options, run: impl FnOnce(&FaultDisk, &dyn FileSystem, &OverlayFs)) {
    let below: Arc<dyn FileSystem> = ram();
    Tree::of(&*below).put("f", &format!("refused!{}", "x".repeat(5000))).unwrap();
    let base = Disk::new(16 << 20, 3, context());
    let faulty = Arc::new(FaultDisk::new(base.device().clone()));
    let ext4 = Disk::mount_device(faulty.clone(), context());
    let layers = Layers {
        upper: Some(Disk::layer(&ext4, "u")),
        work: Some(Disk::layer(&ext4, "w")),
        lowers: vec![Layer::of(below)],
    };
    let fs = OverlayFs::mount(context(), layers, options).unwrap();
    run(&faulty, &*ext4, &fs);
    assert!(!ext4.is_read_only());
    fs.unmount().unwrap();
    drop(fs);
    faulty.clear();
    ext4.unmount().unwrap();
    drop(ext4);
    assert_eq!(base.damage(), None);
}

#[test]
fn data_that_the_upper_lost_is_told_once_to_each_that_syncs() {
    over_a_bad_disk(Options::default(), |faulty, _, fs| {
        let file = Tree::of(fs).file("f").unwrap();
        // Copied up whole: nothing is wrong yet.
        file.write_at(5000, b"more").unwrap();
        faulty.set(Fault::WriteOf(BAD));
        file.write_at(0, &BAD).unwrap();
        let sample = || file.write_errors().map(ErrorSequence::sample).unwrap();
        let (first, second) = (sample(), sample());
        let told = |told: &Told| sync_and_tell(&*file, SyncKind::All, told).map_err(|error| error.errno());
        assert_eq!((told(&first), told(&first)), (Err(Errno::EIO), Ok(())));
        assert_eq!((told(&second), told(&second)), (Err(Errno::EIO), Ok(())));
        assert_eq!(told(&sample()), Ok(()));
        assert!(fs.write_errors().unwrap().is_untold());
    });
}

#[test]
fn a_copy_that_the_disk_does_not_take_is_not_published() {
    over_a_bad_disk(Options::default(), |faulty, _, fs| {
        faulty.set(Fault::WriteOf(BAD));
        let file = Tree::of(fs).file("f").unwrap();
        assert_eq!(file.write_at(0, b"x").unwrap_err(), Errno::EIO);
        faulty.clear();
        let mut content = [0; 8];
        file.read_at(0, &mut content).unwrap();
        assert_eq!(content, BAD, "the lower file is there as before");
    });
}

#[test]
fn a_volatile_overlay_whose_upper_lost_data_says_so_ever_after() {
    over_a_bad_disk(Options { sync: SyncMode::Volatile, ..Options::default() }, |faulty, upper, fs| {
        let file = Tree::of(fs).file("f").unwrap();
        file.write_at(5000, b"more").unwrap();
        assert_eq!(file.sync(SyncKind::All), Ok(()));
        faulty.set(Fault::WriteOf(BAD));
        upper.sync().unwrap();
        assert_eq!(file.sync(SyncKind::All).unwrap_err(), Errno::EIO);
        assert_eq!(file.sync(SyncKind::Data).unwrap_err(), Errno::EIO);
        assert_eq!(fs.sync().unwrap_err(), Errno::EIO);
        faulty.clear();
    });
}
