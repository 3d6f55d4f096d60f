//! Inode flags: the `ioctl(2)`s that get and set them, and what they forbid. The kernel checks who may set which; to obey them it
//! leaves to the filesystem.

use fuser::TimeOrNow;
use vfs::{DirOps, Errno, FlagsCommand, InodeFlags, Name, Node, NodeOps, Result};

use super::Server;
use super::content::Change;

/// The flags of an inode; none where its filesystem keeps none.
pub(super) fn of<N: NodeOps + ?Sized>(node: &N) -> Result<InodeFlags> {
    Ok(node.attr()?.flags.unwrap_or_default())
}

/// Whether this entry may be taken out of its directory: `EPERM`.
pub(super) fn may_remove(dir: &dyn DirOps, name: Name<'_>) -> Result<()> {
    of(dir)?.check_change()?;
    match dir.lookup(name)? {
        Some(node) => of(node.ops())?.check_change(),
        None => Ok(()),
    }
}

/// Whether an entry may come to this name: `EPERM`.
pub(super) fn may_arrive(dir: &dyn DirOps, name: Name<'_>) -> Result<()> {
    match dir.lookup(name)? {
        Some(_) => may_remove(dir, name),
        None => of(dir)?.check_growth(),
    }
}

/// Whether a file may be opened with these flags of `open(2)`: `EPERM`.
pub(super) fn may_open(node: &Node, flags: i32) -> Result<()> {
    use nix::libc::{O_ACCMODE, O_APPEND, O_RDONLY, O_TRUNC};
    let (writes, truncates) = (flags & O_ACCMODE != O_RDONLY, flags & O_TRUNC != 0);
    match (writes || truncates, truncates || flags & O_APPEND == 0) {
        (false, _) => Ok(()),
        (true, true) => of(node.ops())?.check_change(),
        (true, false) => of(node.ops())?.check_growth(),
    }
}

/// Whether attributes may be changed so: `EPERM`.
pub(super) fn may_change(node: &Node, change: &Change) -> Result<()> {
    let flags = of(node.ops())?;
    let given = |time: &Option<TimeOrNow>| !matches!(time, Some(TimeOrNow::Now));
    let sets_times = change.atime.is_some() || change.mtime.is_some();
    let to_given = sets_times && (given(&change.atime) || given(&change.mtime));
    let others = change.mode.is_some() || change.uid.is_some() || change.gid.is_some() || change.size.is_some();
    if others || to_given { flags.check_change() } else { flags.check_growth() }
}

impl Server {
    /// An `ioctl(2)`: what is to be copied to its argument.
    ///
    /// # Errors
    /// `ENOTTY` for what has no flags, and for every other command; those of [`NodeOps::set_flags`].
    pub(super) fn flags_command(&self, number: u64, command: u32, argument: &[u8]) -> Result<Vec<u8>> {
        let command = FlagsCommand::from_number(command).ok_or(Errno::ENOTTY)?;
        let node = self.node(number)?;
        let old = node.attr()?.flags.ok_or(Errno::ENOTTY)?;
        if command.gets() {
            return Ok(command.answer(old)[..command.argument_len()].to_vec());
        }
        node.ops().set_flags(command.wanted(argument, old)?, None)?;
        Ok(Vec::new())
    }
}
