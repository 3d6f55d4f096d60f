//! Sockets of the Unix family, as far as they are names in the tree: made, and bound to a path. Nothing listens and nothing connects.

use alloc::sync::Arc;

use base::sync::Mutex;
use vfs::{AT_FDCWD, Errno, Error, Fd, FileType, OpenDevice, OpenFlags, PollEvents, Result};

use super::{Answer, Caller, done};
use crate::init::namespace;
use crate::user::UserBytes;

/// `AF_UNIX` of `<linux/socket.h>`.
const UNIX: u16 = 1;
/// `SOCK_STREAM`, `SOCK_DGRAM`, `SOCK_SEQPACKET` of `<linux/net.h>`.
const KINDS: [u32; 3] = [1, 2, 5];
/// The bits of a socket's type that say what it is; those above are flags, with the values of `open(2)`.
const KIND: u32 = 0xf;

/// The size of `struct sockaddr_un`: the family, and a path that may lack its NUL.
const ADDRESS_LEN: usize = 110;

/// An open socket.
struct Socket {
    has_name: Mutex<bool>,
}

impl OpenDevice for Socket {
    fn read(&self, _offset: u64, _buf: &mut [u8], _flags: OpenFlags) -> Result<usize> {
        Err(Errno::EINVAL.into())
    }

    fn write(&self, _offset: u64, _data: &[u8], _flags: OpenFlags) -> Result<usize> {
        Err(Errno::ENOTCONN.into())
    }

    fn poll(&self) -> PollEvents {
        PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLHUP
    }

    fn bind(&self, name: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let mut has_name = self.has_name.lock();
        if *has_name {
            return Err(Errno::EINVAL.into());
        }
        name()?;
        *has_name = true;
        Ok(())
    }
}

/// `socket(2)`: `EAFNOSUPPORT` for every family but Unix.
pub(super) fn socket(caller: &mut Caller<'_>, family: u32, kind: u32, protocol: u32) -> Answer {
    let flags = OpenFlags::from_bits_retain(kind & !KIND);
    if !(OpenFlags::O_CLOEXEC | OpenFlags::O_NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    if family != u32::from(UNIX) {
        return Err(Errno::EAFNOSUPPORT.into());
    }
    if !KINDS.contains(&(kind & KIND)) {
        return Err(Errno::ESOCKTNOSUPPORT.into());
    }
    if protocol != 0 && protocol != u32::from(UNIX) {
        return Err(Errno::EPROTONOSUPPORT.into());
    }
    let socket = Arc::new(Socket { has_name: Mutex::new(false) });
    let fd = namespace().socket(&caller.context, socket, flags)?;
    Ok(fd as usize)
}

/// `bind(2)`: makes the socket's name. Names that are in no tree (those that begin with a NUL) are not there.
pub(super) fn bind(caller: &mut Caller<'_>, fd: Fd, address: u64, length: u32) -> Answer {
    let file = caller.context.files.get(fd)?;
    let length = length as usize;
    let mut bytes = [0; ADDRESS_LEN];
    if !(2..=ADDRESS_LEN).contains(&length) {
        return Err(Errno::EINVAL.into());
    }
    UserBytes::new(address, length).with(|given| {
        bytes[..given.len()].copy_from_slice(given);
        Ok(given.len())
    })?;
    let (family, path) = bytes[..length].split_at(2);
    let path = path.split(|&byte| byte == 0).next().unwrap_or_default();
    if family != UNIX.to_ne_bytes() {
        return Err(Errno::EINVAL.into());
    }
    if path.is_empty() {
        return Err(Error::new(Errno::EOPNOTSUPP, "a socket's name that is in no tree"));
    }
    let mode = FileType::Socket.mode_bits() | 0o777;
    let mut name = || {
        let made = namespace().mknodat(&caller.context, AT_FDCWD, path, mode, 0);
        made.map_err(|error| if error == Errno::EEXIST { Errno::EADDRINUSE.into() } else { error })
    };
    done(file.bind(&mut name))
}
