//! Attributes, types and errors between the contract and the protocol.

use std::time::{Duration, SystemTime};

use fuser::{FileAttr, FileType as FuseType, INodeNo, TimeOrNow};
use vfs::{Attr, DeviceNumber, Error, FileType, SetTime, Timestamp};

/// How long the kernel keeps what it was told: no one else changes the tree.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// An inode as the kernel is told of it at its name.
pub(super) struct Described {
    pub(super) attr: FileAttr,
    /// How long the attributes hold.
    pub(super) attr_ttl: Duration,
    /// How long the name does.
    pub(super) entry_ttl: Duration,
}

impl Described {
    /// An inode that the kernel knows by `number`.
    pub(super) fn new(number: u64, attr: &Attr) -> Self {
        // Of several names of a lower inode one may part from the others when it is changed.
        let attr_ttl = if number == attr.ino { ttl(attr) } else { Duration::ZERO };
        Self { attr: FileAttr { ino: INodeNo(number), ..to_fuse(attr) }, attr_ttl, entry_ttl: LONG }
    }

    /// How long all of it holds.
    pub(super) fn shortest(&self) -> Duration {
        self.attr_ttl.min(self.entry_ttl)
    }
}

/// How long a name is known to be absent.
pub(super) const ABSENT: Duration = LONG;

/// How long the attributes of an inode hold.
pub(super) fn ttl(attr: &Attr) -> Duration {
    if attr.nlink > 1 && attr.kind != FileType::Dir { Duration::ZERO } else { LONG }
}

/// What the kernel is told for an absent name: inode 0.
pub(super) fn absent() -> FileAttr {
    let time = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: FuseType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// The protocol's attributes, with the real inode number.
pub(super) fn to_fuse(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.btime.unwrap_or(attr.ctime)),
        kind: to_fuse_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        // The protocol has 32 bits, as Linux has inside.
        rdev: attr.rdev.encode() as u32,
        blksize: attr.block_size,
        flags: 0,
    }
}

pub(super) fn to_fuse_type(kind: FileType) -> FuseType {
    match kind {
        FileType::File => FuseType::RegularFile,
        FileType::Dir => FuseType::Directory,
        FileType::Symlink => FuseType::Symlink,
        FileType::CharDevice => FuseType::CharDevice,
        FileType::BlockDevice => FuseType::BlockDevice,
        FileType::Fifo => FuseType::NamedPipe,
        FileType::Socket => FuseType::Socket,
    }
}

pub(super) fn device(rdev: u32) -> DeviceNumber {
    DeviceNumber::decode(u64::from(rdev))
}

pub(super) fn errno(error: Error) -> fuser::Errno {
    fuser::Errno::from_i32(i32::from(error.errno().number()))
}

fn system_time(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let seconds = if time.secs < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    // Every i64 of seconds fits on Linux, but the type does not promise it.
    let seconds = seconds.unwrap_or(SystemTime::UNIX_EPOCH);
    seconds.checked_add(Duration::from_nanos(u64::from(time.nanos))).unwrap_or(seconds)
}

/// A time that is to be set. The library takes `secs` and `nanos` of a time before 1970 for a distance both of which count
/// backwards: that is undone here.
pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    let time = match time {
        TimeOrNow::Now => return SetTime::Now,
        TimeOrNow::SpecificTime(time) => time,
    };
    SetTime::At(match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => {
            Timestamp { secs: i64::try_from(after.as_secs()).unwrap_or(i64::MAX), nanos: after.subsec_nanos() }
        }
        Err(error) => {
            let before = error.duration();
            let secs = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            Timestamp { secs: -secs, nanos: before.subsec_nanos() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_epoch_count_their_nanoseconds_forward() {
        let time = system_time(Timestamp { secs: -2, nanos: 800_000_000 });
        assert_eq!(SystemTime::UNIX_EPOCH.duration_since(time).unwrap(), Duration::from_millis(1200));
    }

    #[test]
    fn a_time_of_the_protocol_arrives_as_it_was_sent() {
        // As the library makes it of -2 s and 800,000,000 ns.
        let sent = SystemTime::UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(set_time(TimeOrNow::SpecificTime(sent)), SetTime::At(Timestamp { secs: -2, nanos: 800_000_000 }));
    }
}
