//! Inode flags: those of the topmost part, and those that protect it, which are kept beside an inode of the upper (`protattr`).
//!
//! An immutable inode could neither be given its name in the upper nor, as a directory, take the copies of what is in it. So these
//! flags are never set on the upper inode; the node shows both. Who checks permissions obeys them.

use core::sync::atomic::Ordering;

use vfs::{Errno, Error, FileType, InodeFlags, Node, NodeOps, Result, XattrSet};

use crate::copy_up::{Content, Copy};
use crate::format::Protection;
use crate::identity::Kind;
use crate::leaf::Leaf;
use crate::node::{Core, OverlayDir};
use crate::xattr;

/// Flags that a copy has from its lower inode, beside those that protect it (Linux's `OVL_COPY_FS_FLAGS_MASK`).
const COPIED: InodeFlags = InodeFlags::SYNC.union(InodeFlags::NOATIME);

/// In [`Core::protection`]: not yet asked for.
pub(crate) const UNKNOWN: u32 = u32::MAX;

impl Core {
    /// The flags that a node shows, of those that its topmost part has, `upper` if it is there.
    ///
    /// # Errors
    /// Those of the upper.
    pub(crate) fn flags<N: NodeOps + ?Sized>(
        &self,
        top: Option<InodeFlags>,
        upper: Option<&N>,
    ) -> Result<Option<InodeFlags>> {
        let (Some(flags), Some(upper)) = (top, upper) else { return Ok(top) };
        let known = self.protection.load(Ordering::Relaxed);
        if known != UNKNOWN {
            return Ok(Some(flags | InodeFlags::from_bits_retain(known)));
        }
        let mut protection = InodeFlags::empty();
        if let Some(value) = xattr::of_layer(upper, self.fs.names.protattr)? {
            match Protection::parse(&value) {
                Some(known) => protection = known.0,
                None => {
                    log::warn!("overlay: inode {}: protattr has letters that are not known: ignored", self.number());
                }
            }
        }
        // A change that came meanwhile knows better.
        let _ = self.protection.compare_exchange(UNKNOWN, protection.bits(), Ordering::Relaxed, Ordering::Relaxed);
        Ok(Some(flags | protection))
    }

    /// The node was just made: there is nothing to be asked for.
    pub(crate) fn begins_unprotected(&self) {
        self.protection.store(0, Ordering::Relaxed);
    }

    /// Sets the flags of a node that is in the upper, in one step there.
    fn set_flags_in<N: NodeOps + ?Sized>(&self, upper: &N, flags: InodeFlags) -> Result<()> {
        // No other change comes between the upper and what is remembered of it.
        let _copying = self.copying.lock();
        let protection = Protection::of(flags);
        let with = XattrSet { name: self.fs.names.protattr, value: protection.to_bytes() };
        upper.set_flags(flags - protection.0, Some(with))?;
        self.protection.store(protection.0.bits(), Ordering::Relaxed);
        Ok(())
    }

    /// Refuses what cannot be, before anything is copied up for it.
    fn check_flags(&self, kind: FileType, with: Option<XattrSet<'_>>) -> Result<()> {
        if !matches!(kind, FileType::File | FileType::Dir) {
            return Err(Errno::ENOTTY.into());
        }
        self.fs.writable()?;
        match with {
            Some(_) => Err(Error::new(Errno::EOPNOTSUPP, "an overlay is no upper layer")),
            None => Ok(()),
        }
    }
}

/// Whether a node that was just copied up shows what was asked for, so that nothing is left to do.
fn are_in_force(shown: Option<InodeFlags>, wanted: InodeFlags) -> bool {
    shown.is_some_and(|shown| (shown ^ wanted) & InodeFlags::COMMON == InodeFlags::empty())
}

impl OverlayDir {
    /// [`NodeOps::set_flags`]: one step of the upper, the publication of the copy if there was none.
    pub(crate) fn change_flags(&self, flags: InodeFlags, with: Option<XattrSet<'_>>) -> Result<()> {
        self.core.check_flags(FileType::Dir, with)?;
        let is_lower = self.upper().is_none();
        let upper = self.copy_up_with(Some(flags))?;
        if is_lower && are_in_force(self.attr()?.flags, flags) {
            return Ok(());
        }
        self.core.set_flags_in(upper, flags)
    }
}

impl<T: Kind + ?Sized> Leaf<T> {
    /// [`NodeOps::set_flags`]: one step of the upper, the publication of the copy if there was none.
    pub(crate) fn change_flags(&self, flags: InodeFlags, with: Option<XattrSet<'_>>) -> Result<()> {
        self.core.check_flags(self.top()?.attr()?.kind, with)?;
        let is_lower = self.upper().is_none();
        let upper = self.copy_up_with(Content::Attributes, Some(flags))?;
        if is_lower && are_in_force(self.attr()?.flags, flags) {
            return Ok(());
        }
        self.core.set_flags_in(upper, flags)
    }
}

impl Copy<'_> {
    /// The flags that protect the copy.
    pub(crate) fn protection(&self, lower: InodeFlags) -> Protection {
        Protection::of(self.flags.unwrap_or(lower))
    }

    /// Gives a staged copy its flags: those that were asked for, or of the lower inode's those that Linux copies, as far as the
    /// upper's filesystem has them. What it took over from the directory near which it was made goes.
    pub(crate) fn give_flags(&self, staged: &Node, lower: InodeFlags) -> Result<()> {
        if let Some(flags) = self.flags {
            return staged.ops().set_flags(flags - InodeFlags::PROTECTION, None);
        }
        let Some(now) = staged.attr()?.flags else { return Ok(()) };
        let wanted = lower & COPIED;
        if (now ^ wanted) & InodeFlags::COMMON == InodeFlags::empty() {
            return Ok(());
        }
        match staged.ops().set_flags((now - InodeFlags::COMMON) | wanted, None) {
            Err(error) if error == Errno::EOPNOTSUPP || error == Errno::ENOTTY => Ok(()),
            result => result,
        }
    }
}
