//! Open files that are nowhere in the tree: pipes, sockets, and devices opened by their number.

use alloc::sync::Arc;

use crate::context::Context;
use crate::credentials::Credentials;
use crate::device::{DeviceClass, OpenDevice};
use crate::fd_table::OnExec;
use crate::file::{Claim, Kind, OpenFile, Origin};
use crate::flags::{Fd, OpenFlags};
use crate::inode::Triple;
use crate::namespace::Namespace;
use crate::pipe::{Pipe, PipeEnd};
use crate::{Attr, DeviceNumber, Errno, FileType, InodeFlags, Result, Timestamp};

impl Namespace {
    /// `pipe2(2)`: the reading and the writing end.
    ///
    /// # Errors
    /// `EINVAL`, `EMFILE`.
    pub fn pipe2(self: &Arc<Self>, ctx: &Context, flags: OpenFlags) -> Result<(Fd, Fd)> {
        let status = OpenFlags::O_NONBLOCK | OpenFlags::O_DIRECT;
        if !(status | OpenFlags::O_CLOEXEC).contains(flags) {
            return Err(Errno::EINVAL.into());
        }
        let pipe = Arc::new(Pipe::default());
        let who = &ctx.credentials;
        let attr = anonymous(self.new_id(), &owned(who, FileType::Fifo, 0o600), DeviceNumber::default());
        let end = |access: OpenFlags| {
            let flags = access | (flags & status);
            let end = PipeEnd::new(pipe.clone(), self.wait.clone(), flags);
            OpenFile::new(self, who, Origin::Anonymous(attr), Kind::Pipe(end), flags, Claim::None)
        };
        let (reader, writer) = (end(OpenFlags::O_RDONLY), end(OpenFlags::O_WRONLY));
        let reader = ctx.files.install(reader, on_exec(flags))?;
        match ctx.files.install(writer, on_exec(flags)) {
            Ok(writer) => Ok((reader, writer)),
            Err(error) => {
                ctx.files.close(reader)?;
                Err(error)
            }
        }
    }

    /// `socket(2)`: a descriptor of `socket`.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn socket(self: &Arc<Self>, ctx: &Context, socket: Arc<dyn OpenDevice>, flags: OpenFlags) -> Result<Fd> {
        let who = &ctx.credentials;
        let attr = anonymous(self.new_id(), &owned(who, FileType::Socket, 0o777), DeviceNumber::default());
        let status = OpenFlags::O_RDWR | (flags & OpenFlags::O_NONBLOCK);
        let file = OpenFile::new(self, who, Origin::Anonymous(attr), Kind::Device(socket), status, Claim::None);
        ctx.files.install(file, on_exec(flags))
    }

    /// Opens a device that may have no node in the tree (the console of the first program).
    ///
    /// # Errors
    /// `ENXIO` without a driver; the driver's.
    pub fn open_device(
        self: &Arc<Self>,
        class: DeviceClass,
        number: DeviceNumber,
        flags: OpenFlags,
    ) -> Result<Arc<OpenFile>> {
        let device = self.devices().open(class, number, flags)?;
        let kind = if class == DeviceClass::Char { FileType::CharDevice } else { FileType::BlockDevice };
        let triple = Triple { kind, mode: 0o600, uid: 0, gid: 0, flags: InodeFlags::empty(), listed: None };
        let attr = anonymous(self.new_id(), &triple, number);
        Ok(OpenFile::new(self, &Credentials::root(), Origin::Anonymous(attr), Kind::Device(device), flags, Claim::None))
    }
}

/// Whether a descriptor is to be closed by `execve(2)`.
pub(super) fn on_exec(flags: OpenFlags) -> OnExec {
    if flags.contains(OpenFlags::O_CLOEXEC) { OnExec::Close } else { OnExec::Keep }
}

/// What the caller owns.
fn owned(who: &Credentials, kind: FileType, mode: u16) -> Triple<'static> {
    Triple {
        kind,
        mode,
        uid: who.uid().file_system,
        gid: who.gid().file_system,
        flags: InodeFlags::empty(),
        listed: None,
    }
}

/// The attributes of what is nowhere in the tree.
fn anonymous(ino: u64, triple: &Triple<'_>, rdev: DeviceNumber) -> Attr {
    Attr {
        dev: 0,
        ino,
        kind: triple.kind,
        mode: triple.mode,
        nlink: 1,
        uid: triple.uid,
        gid: triple.gid,
        rdev,
        size: 0,
        blocks: 0,
        block_size: 4096,
        atime: Timestamp::EPOCH,
        mtime: Timestamp::EPOCH,
        ctime: Timestamp::EPOCH,
        btime: None,
        flags: None,
    }
}
