//! What `fsync(2)` promises, whoever writes the data.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use block::{BlockDevice, Capabilities, Io, MemoryDisk, UNPLACED};
use common::disk::{DEFAULT, MIB};
use common::{mount, short};
use contract::dsl::pattern;
use vfs::{FileSystem, SetAttr, SetTime, SyncKind, Timestamp};

/// A disk that keeps those who write waiting while its gate is closed.
struct Gate {
    disk: Arc<MemoryDisk>,
    open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicBool,
}

impl Gate {
    fn set(&self, open: bool) {
        *self.open.lock().unwrap() = open;
        self.opened.notify_all();
    }
}

impl BlockDevice for Gate {
    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities()
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> vfs::Result<()> {
        if batch.iter().any(|io| matches!(io, Io::Write { .. })) {
            let mut open = self.open.lock().unwrap();
            while !*open {
                self.waiting.store(true, Ordering::Release);
                open = self.opened.wait(open).unwrap();
            }
        }
        self.disk.transfer(batch)
    }

    fn flush(&self) -> vfs::Result<()> {
        self.disk.flush()
    }
}

#[test]
fn a_sync_waits_for_data_that_another_sync_is_writing() {
    let disk = DEFAULT.disk(32 * MIB);
    let gate = Arc::new(Gate { disk, open: Mutex::new(true), opened: Condvar::new(), waiting: AtomicBool::new(false) });
    let fs = mount(gate.clone());
    let a = short::file(&*fs, "a", &pattern(0, 8192)).unwrap();
    let b = short::file(&*fs, "b", &pattern(0, 8192)).unwrap();
    fs.sync().unwrap();
    gate.set(false);
    a.write_at(0, &pattern(1, 4096)).unwrap();
    b.write_at(0, &pattern(2, 4096)).unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| a.sync(SyncKind::Data));
        while !gate.waiting.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let (done, wait) = mpsc::channel();
        scope.spawn(move || done.send(b.sync(SyncKind::Data)).unwrap());
        let early = wait.recv_timeout(Duration::from_millis(300));
        gate.set(true);
        assert!(early.is_err(), "it returned before the data was written");
        assert_eq!(wait.recv().unwrap(), Ok(()));
        assert_eq!(first.join().unwrap(), Ok(()));
    });
}

#[test]
fn what_has_no_data_is_not_committed() {
    let disk = DEFAULT.disk(32 * MIB);
    let fs = mount(disk.clone());
    let file = short::file(&*fs, "f", b"").unwrap();
    fs.sync().unwrap();
    file.write_at(0, &pattern(0, 10_000)).unwrap();
    // As where the device fails the write that gives data its place.
    fs.cache().forget(UNPLACED | file.attr().unwrap().ino << 32, 1);
    assert!(file.sync(SyncKind::All).is_err());
    assert!(fs.is_read_only());
    let after = mount(Arc::new(disk.snapshot()));
    assert_eq!(short::read(&*after, "f").unwrap(), b"", "the file leads to blocks that were not written");
}

#[test]
fn a_read_does_not_wait_for_a_commit_and_its_time_is_kept() {
    let disk = DEFAULT.disk(32 * MIB);
    let gate = Arc::new(Gate {
        disk: disk.clone(),
        open: Mutex::new(true),
        opened: Condvar::new(),
        waiting: AtomicBool::new(false),
    });
    let fs = mount(gate.clone());
    let file = short::file(&*fs, "read", &pattern(0, 8192)).unwrap();
    let past = SetTime::At(Timestamp::from_secs(1_000_000));
    file.set_attr(&SetAttr { atime: Some(past), ..SetAttr::default() }).unwrap();
    let written = short::file(&*fs, "written", &pattern(0, 8192)).unwrap();
    gate.set(false);
    let commit = thread::spawn(move || written.sync(SyncKind::All).unwrap());
    while !gate.waiting.load(Ordering::Acquire) {
        thread::yield_now();
    }
    let (sender, receiver) = mpsc::channel();
    let reader = file.clone();
    let read = thread::spawn(move || {
        let mut content = [0; 8192];
        assert_eq!(reader.read_at(0, &mut content).unwrap(), 8192);
        reader.note_access();
        sender.send(()).unwrap();
    });
    let waited = receiver.recv_timeout(Duration::from_secs(20));
    gate.set(true);
    commit.join().unwrap();
    read.join().unwrap();
    waited.expect("the read waits for the commit");
    let atime = file.attr().unwrap().atime;
    assert!(atime.secs > 1_000_000);
    fs.unmount().unwrap();
    drop((file, fs));
    let fs = mount(disk);
    assert_eq!(short::open(&*fs, "read").unwrap().attr().unwrap().atime, atime);
}
