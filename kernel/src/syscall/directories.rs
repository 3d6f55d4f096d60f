//! Reading directories; current and root directory; the umask.

use vfs::{Errno, Fd};

use super::abi::{DIRENT_HEADER, encode_old_dirent};
use super::{Answer, Caller, done, with_path};
use crate::init::namespace;
use crate::user::{UserBytes, UserString};

/// `getdents64(2)`.
pub(super) fn getdents64(caller: &mut Caller<'_>, fd: Fd, buffer: u64, size: u32) -> Answer {
    let file = caller.context.file(fd)?;
    let mut filled = false;
    UserBytes::whole(buffer, size as usize).with_mut(|bytes| {
        // One piece is one answer: a second call would begin a new one behind a gap.
        if core::mem::replace(&mut filled, true) { Ok(0) } else { file.read_dir(bytes) }
    })
}

/// `getdents(2)`: the older records, made from the newer, which are as long or longer.
pub(super) fn getdents(caller: &mut Caller<'_>, fd: Fd, buffer: u64, size: u32) -> Answer {
    let file = caller.context.file(fd)?;
    let size = (size as usize).min(32 << 10);
    let mut records = alloc::vec::Vec::new();
    records.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    // The buffer is there before the directory is read: what is read once is not read again.
    UserBytes::whole(buffer, size).with_mut(|bytes| {
        records.resize(bytes.len(), 0);
        let length = file.read_dir(&mut records)?;
        let (mut at, mut written) = (0, 0);
        while let Some(record) = records[..length].get(at..).filter(|rest| rest.len() > DIRENT_HEADER) {
            let word = |from: usize| u64::from_le_bytes(core::array::from_fn(|byte| record[from + byte]));
            let record_length = usize::from(u16::from_le_bytes([record[16], record[17]]));
            let name = &record[DIRENT_HEADER..record_length];
            let name = name.split(|&byte| byte == 0).next().unwrap_or(name);
            let Some(count) = encode_old_dirent(&mut bytes[written..], word(0), word(8), record[18], name) else {
                break;
            };
            written += count;
            at += record_length;
        }
        Ok(written)
    })
}

/// `getcwd(2)`: the length with the zero.
pub(super) fn getcwd(caller: &mut Caller<'_>, buffer: u64, size: usize) -> Answer {
    let mut path = namespace().getcwd(&caller.context)?;
    path.push(0);
    if path.len() > size {
        return Err(Errno::ERANGE.into());
    }
    UserBytes::whole(buffer, size).write(&path)
}

/// `chdir(2)`.
pub(super) fn chdir(caller: &mut Caller<'_>, path: UserString) -> Answer {
    done(with_path(path, |path| namespace().chdir(&caller.context, path)))
}

/// `fchdir(2)`.
pub(super) fn fchdir(caller: &mut Caller<'_>, fd: Fd) -> Answer {
    done(namespace().fchdir(&caller.context, fd))
}

/// `chroot(2)`.
pub(super) fn chroot(caller: &mut Caller<'_>, path: UserString) -> Answer {
    done(with_path(path, |path| namespace().chroot(&caller.context, path)))
}

/// `umask(2)`.
pub(super) fn umask(caller: &mut Caller<'_>, mask: u32) -> Answer {
    Ok(caller.context.fs.set_umask(mask).into())
}
