//! Removal: unlink and rmdir, each one step of the upper. A whiteout is left where a lower layer has the name, and only there.

use vfs::{Errno, Expect, Name, Result, Victim};

use crate::identity::OverlayNode;
use crate::index::{InUpper, Indexed};
use crate::lookup::Found;
use crate::node::OverlayDir;

impl OverlayDir {
    /// [`DirOps::remove`](vfs::DirOps::remove).
    pub(crate) fn remove_entry(&self, name: Name<'_>, expect: Expect) -> Result<()> {
        if self.upper().is_none() {
            // Fail early, so that a removal which cannot succeed copies nothing up.
            self.core.fs.writable()?;
            let _entries = self.entries.read();
            if let (OverlayNode::Dir(dir), _) = self.removable(name, expect)? {
                let _inside = dir.entries.read();
                dir.expect_empty()?;
            }
        }
        let upper = self.copy_up()?;
        let (_entries, _links, found, in_upper) = loop {
            self.copy_up_indexed(name)?;
            let entries = self.entries.write();
            let (found, in_upper) = self.removable(name, expect)?;
            match found.indexed() {
                Indexed::InLower => {}
                Indexed::InUpper(inode, index) => {
                    let links = self.core.fs.hold_links();
                    self.link_up(name, &inode, index, in_upper)?;
                    break (entries, links, found, InUpper::Yes);
                }
                Indexed::No => break (entries, None, found, in_upper),
            }
        };
        // Nothing appears in a directory while it is found empty and removed.
        let _inside = match &found {
            OverlayNode::Dir(dir) => {
                let inside = dir.entries.write();
                dir.expect_empty()?;
                Some(inside)
            }
            _ => None,
        };
        match (in_upper, &found) {
            (InUpper::No, _) => upper.whiteout(name, Victim::Absent)?,
            (InUpper::Yes, OverlayNode::Dir(_)) if self.lower_shows(name) => upper.whiteout(name, Victim::Dir)?,
            (InUpper::Yes, OverlayNode::Dir(_)) => upper.remove_with_whiteouts(name)?,
            (InUpper::Yes, _) if self.lower_shows(name) => upper.whiteout(name, Victim::NonDir)?,
            (InUpper::Yes, _) => upper.remove(name, Expect::NonDir)?,
        }
        found.set_gone();
        self.core.fs.forget_unused(&found);
        self.forget_entry(name);
        Ok(())
    }

    /// What is at `name`, if it is of the expected kind, and whether the upper has an entry for it; the caller holds the
    /// entries.
    fn removable(&self, name: Name<'_>, expect: Expect) -> Result<(OverlayNode, InUpper)> {
        let found = self.resolve(name)?.ok_or(Errno::ENOENT)?;
        match (&found, expect) {
            (Found::Dir(..), Expect::NonDir) => return Err(Errno::EISDIR.into()),
            (Found::Upper(..) | Found::Lower(..), Expect::EmptyDir) => return Err(Errno::ENOTDIR.into()),
            (Found::Dir(..), Expect::EmptyDir) | (Found::Upper(..) | Found::Lower(..), Expect::NonDir) => {}
        }
        let in_upper = found.in_upper();
        Ok((self.node(name, found)?, in_upper))
    }

    /// Fails if the merged view has an entry; the caller holds the entries.
    ///
    /// # Errors
    /// `ENOTEMPTY`; those of the layers.
    pub(crate) fn expect_empty(&self) -> Result<()> {
        // What is in the upper alone, the upper judges in the step that removes it.
        if self.lowers.is_empty() || self.is_empty()? { Ok(()) } else { Err(Errno::ENOTEMPTY.into()) }
    }
}

impl OverlayNode {
    /// Records that the name of this node was removed; the caller holds the parent's entries, and a directory's own.
    pub(crate) fn set_gone(&self) {
        match self {
            Self::Dir(node) => node.set_gone(),
            Self::File(node) => node.set_gone(),
            Self::Symlink(node) => node.set_gone(),
            Self::Special(node) => node.set_gone(),
        }
    }
}
