//! Rename: files and directories, replacing or not, and exchange; each one step of the upper.
//!
//! A directory with lower parts moves by a redirect that says where they are, in time that does not depend on what is
//! in it. A directory of the upper alone that arrives where lower layers have directories becomes opaque. The source
//! leaves a whiteout where a lower layer still shows its name.
//!
//! What must be copied up is, before any lock is taken; then all is looked at again, and if it changed, tried again.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use base::sync::RwLockWriteGuard;
use vfs::{
    Errno, Error, FileOps, Name, NameBuf, RenameMode, RenameOp, Result, SourceLeft, Subject, UpperRename,
    UpperRenameMode, XattrChange,
};

use crate::copy_up::Content;
use crate::format::{REDIRECT_MAX, Redirect, YES, path_bytes};
use crate::identity::OverlayNode;
use crate::index::{InUpper, Indexed};
use crate::leaf::Leaf;
use crate::lookup::Found;
use crate::node::{Core, OverlayDir};
use crate::options::RedirectMode;
use crate::rank::Held;

/// What is at an end of a rename.
struct End {
    node: OverlayNode,
    in_upper: InUpper,
}

/// The two ends, looked at under the same locks.
struct Ends {
    source: End,
    target: Option<End>,
}

/// What a rename records on a node that moves.
struct Marks {
    redirect: Option<Redirect>,
    redirect_bytes: Vec<u8>,
    opaque: Opacity,
}

/// Whether a moved directory must hide what lower layers have at its new name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opacity {
    AsIs,
    Opaque,
}

impl OverlayDir {
    /// Whether `other` is of the same overlay.
    pub(crate) fn shares_overlay(&self, other: &Core) -> bool {
        Arc::ptr_eq(&self.core.fs, &other.fs)
    }

    /// [`DirOps::rename`](vfs::DirOps::rename).
    pub(crate) fn rename_entry(&self, op: &RenameOp<'_>) -> Result<()> {
        let to = (&**op.to as &dyn Any).downcast_ref::<Self>().filter(|to| self.shares_overlay(&to.core));
        let to = to.ok_or_else(|| Error::new(Errno::EXDEV, "rename to another filesystem"))?;
        let fs = &*self.core.fs;
        fs.writable()?;
        loop {
            let ends = {
                let _rename = fs.rename.lock();
                let _entries = lock_both(self, to);
                self.ends(to, op)?
            };
            let Some(ends) = ends else { return Ok(()) };
            // Fail early, so that a rename which cannot succeed copies nothing up.
            ends.check(self, to, op.mode)?;
            self.copy_up()?;
            to.copy_up()?;
            ends.source.node.copy_up()?;
            if let (RenameMode::Exchange, Some(target)) = (op.mode, &ends.target) {
                target.node.copy_up()?;
            }
            self.link_up_indexed(op.name)?;
            if ends.target.is_some() {
                to.link_up_indexed(op.new_name)?;
            }

            let _rename = fs.rename.lock();
            let _entries = lock_both(self, to);
            let Some(ends) = self.ends(to, op)? else { return Ok(()) };
            if !ends.is_ready(op.mode) {
                continue;
            }
            return self.rename_ready(to, op, &ends);
        }
    }

    /// Looks at both ends; the caller holds the rename lock and the entries of both directories. `None` if both are the
    /// same object: nothing is to be done.
    fn ends(&self, to: &Self, op: &RenameOp<'_>) -> Result<Option<Ends>> {
        if to.is_gone() {
            return Err(Errno::ENOENT.into());
        }
        let source = self.end(op.name)?.ok_or(Errno::ENOENT)?;
        let target = to.end(op.new_name)?;
        match (&target, op.mode) {
            (Some(_), RenameMode::NoReplace) => return Err(Errno::EEXIST.into()),
            (None, RenameMode::Exchange) => return Err(Errno::ENOENT.into()),
            (Some(target), RenameMode::Replace | RenameMode::Exchange)
                if target.node.core().serial() == source.node.core().serial() =>
            {
                return Ok(None);
            }
            (Some(_), RenameMode::Replace | RenameMode::Exchange)
            | (None, RenameMode::Replace | RenameMode::NoReplace) => {}
        }
        if let OverlayNode::Dir(dir) = &source.node
            && to.is_at_or_below(dir)
        {
            return Err(Error::new(Errno::EINVAL, "directory moved below itself"));
        }
        let ends = Ends { source, target };
        ends.check_kinds(op.mode)?;
        if let Some(End { node: OverlayNode::Dir(dir), .. }) = &ends.target
            && self.is_at_or_below(dir)
        {
            let errno = if op.mode == RenameMode::Exchange { Errno::EINVAL } else { Errno::ENOTEMPTY };
            return Err(Error::new(errno, "rename onto a directory above"));
        }
        Ok(Some(ends))
    }

    fn end(&self, name: Name<'_>) -> Result<Option<End>> {
        let Some(found) = self.resolve(name)? else { return Ok(None) };
        let in_upper = Found::in_upper(&found);
        Ok(Some(End { node: self.node(name, found)?, in_upper }))
    }

    /// Renames what has been copied up; the caller holds the rename lock and the entries of both directories.
    fn rename_ready(&self, to: &Self, op: &RenameOp<'_>, ends: &Ends) -> Result<()> {
        let names = self.core.fs.names;
        let replaced_dir = match (op.mode, &ends.target) {
            (RenameMode::Replace, Some(End { node: OverlayNode::Dir(dir), .. })) => Some(dir),
            _ => None,
        };
        // Nothing appears in a directory while it is found empty and replaced.
        let _inside = replaced_dir.map(|dir| dir.entries.write());
        if let Some(dir) = replaced_dir {
            dir.expect_empty()?;
        }

        let moved = self.marks(to, op.name, &ends.source.node)?;
        let exchanged = match (op.mode, &ends.target) {
            (RenameMode::Exchange, Some(target)) => Some((to.marks(self, op.new_name, &target.node)?, target)),
            _ => None,
        };
        let mut changes = Vec::with_capacity(6);
        moved.changes(Subject::Moved, self, &mut changes);
        let impure = |subject| XattrChange { subject, name: names.impure, value: Some(YES) };
        let is_same_dir = core::ptr::eq(self, to);
        let marks_to = !is_same_dir && ends.source.node.has_origin()? && !to.is_impure()?;
        if marks_to {
            changes.push(impure(Subject::NewParent));
        }
        let mut marks_from = false;
        if let Some((marks, target)) = &exchanged {
            marks.changes(Subject::Exchanged, self, &mut changes);
            marks_from = !is_same_dir && target.node.has_origin()? && !self.is_impure()?;
            if marks_from {
                changes.push(impure(Subject::OldParent));
            }
        }
        let mode = match op.mode {
            RenameMode::Exchange => UpperRenameMode::Exchange,
            RenameMode::Replace | RenameMode::NoReplace if self.lower_shows(op.name) => {
                UpperRenameMode::Move(SourceLeft::Whiteout)
            }
            RenameMode::Replace | RenameMode::NoReplace => UpperRenameMode::Move(SourceLeft::Nothing),
        };
        let replaced = ends.target.as_ref().filter(|_| exchanged.is_none()).map(|target| target.node.indexed());
        let _links = match replaced {
            Some(Indexed::InUpper(inode, index)) => {
                let links = self.core.fs.hold_links();
                self.core.fs.count_over_upper(&inode, index)?;
                links
            }
            Some(Indexed::No | Indexed::InLower) | None => None,
        };
        let upper_to = to.upper().ok_or(Errno::EROFS)?;
        self.changeable()?.rename_upper(&UpperRename {
            name: op.name,
            to: upper_to,
            new_name: op.new_name,
            mode,
            xattrs: &changes,
        })?;

        // Done on the upper: nothing below can fail.
        if marks_to {
            to.set_impure();
        }
        if marks_from {
            self.set_impure();
        }
        if let (Some(target), None) = (&ends.target, &exchanged) {
            target.node.set_gone();
            self.core.fs.forget_unused(&target.node);
        }
        ends.source.node.moved(to, op.new_name, moved);
        match exchanged {
            Some((marks, target)) => {
                target.node.moved(self, op.name, marks);
                self.forget_listing();
            }
            None => {
                self.forget_entry(op.name);
                to.forget_entry(op.new_name);
                let source = &ends.source.node;
                to.add_entry(op.new_name, source.core().number(), source.clone().into_node().file_type());
                return Ok(());
            }
        }
        to.forget_listing();
        Ok(())
    }

    /// What must be recorded on `node`, which moves from `name` here to another name in `to`.
    ///
    /// # Errors
    /// `EXDEV` where that cannot be said: redirects are off, or too long.
    fn marks(&self, to: &Self, name: Name<'_>, node: &OverlayNode) -> Result<Marks> {
        let none = Marks { redirect: None, redirect_bytes: Vec::new(), opaque: Opacity::AsIs };
        let dir = match node {
            OverlayNode::Dir(dir) => dir,
            OverlayNode::File(file) if file.is_partial() => {
                let redirect = self.file_redirect(to, name, file)?;
                let redirect_bytes = redirect.as_ref().map(Redirect::to_bytes).unwrap_or_default();
                return Ok(Marks { redirect, redirect_bytes, ..none });
            }
            OverlayNode::File(_) | OverlayNode::Symlink(_) | OverlayNode::Special(_) => return Ok(none),
        };
        if dir.lowers.is_empty() {
            let opaque = if to.lowers.is_empty() { Opacity::AsIs } else { Opacity::Opaque };
            return Ok(Marks { opaque, ..none });
        }
        let redirect = match (dir.redirect(), core::ptr::eq(self, to)) {
            (Some(_), true) | (Some(Redirect::Absolute(_)), false) => return Ok(none),
            (None, true) => Redirect::Sibling(name.to_owned()),
            (None | Some(Redirect::Sibling(_)), false) => absolute_redirect(dir.redirect(), dir.position())?,
        };
        Ok(Marks { redirect_bytes: redirect.to_bytes(), redirect: Some(redirect), opaque: Opacity::AsIs })
    }

    /// The redirect that leads from the new name of a file without data, which is at `name` here, to its data; `None` if one
    /// leads there already. A file with other names needs an absolute one, for it holds for all of them.
    fn file_redirect(&self, to: &Self, name: Name<'_>, file: &Leaf<dyn FileOps>) -> Result<Option<Redirect>> {
        let upper = file.upper().ok_or(Errno::EROFS)?;
        let stays = core::ptr::eq(self, to) && file.content()?.attr()?.nlink == 1;
        match (self.core.fs.redirect_of(&**upper)?, stays) {
            (Some(_), true) | (Some(Redirect::Absolute(_)), false) => Ok(None),
            (None, true) => Ok(Some(Redirect::Sibling(name.to_owned()))),
            (redirect @ (None | Some(Redirect::Sibling(_))), false) => {
                absolute_redirect(redirect, Some((self.this()?, name.to_owned()))).map(Some)
            }
        }
    }
}

/// Where the lower parts of what has this redirect and position are, from the root of the layers: up through its ancestors, each
/// at the name that its own redirect gives, to the first that is itself redirected by an absolute path.
fn absolute_redirect(
    mut redirect: Option<Redirect>,
    mut position: Option<(Arc<OverlayDir>, NameBuf)>,
) -> Result<Redirect> {
    let too_long = || Error::new(Errno::EXDEV, "redirect over 256 bytes");
    let mut reversed: Vec<NameBuf> = Vec::new();
    let mut length = 0;
    while let Some((parent, name)) = position {
        let component = match redirect {
            Some(Redirect::Absolute(path)) => {
                reversed.extend(path.into_iter().rev());
                break;
            }
            Some(Redirect::Sibling(name)) => name,
            None => name,
        };
        length += 1 + component.as_bytes().len();
        if length > REDIRECT_MAX {
            return Err(too_long());
        }
        reversed.push(component);
        redirect = parent.redirect();
        position = parent.position();
    }
    reversed.reverse();
    if path_bytes(&reversed).len() > REDIRECT_MAX {
        return Err(too_long());
    }
    Ok(Redirect::Absolute(reversed))
}

impl Ends {
    /// Whether this rename can be done at all, as far as can be told before the copy-up.
    fn check(&self, from: &OverlayDir, to: &OverlayDir, mode: RenameMode) -> Result<()> {
        let fs = &*from.core.fs;
        let movers = [Some(&self.source), self.target.as_ref().filter(|_| mode == RenameMode::Exchange)];
        for end in movers.into_iter().flatten() {
            if let OverlayNode::Dir(dir) = &end.node
                && !dir.lowers.is_empty()
                && fs.options.redirect != RedirectMode::Create
            {
                return Err(Error::new(Errno::EXDEV, "directory with lower parts, and redirect_dir is off"));
            }
        }
        if let (RenameMode::Replace, Some(End { node: OverlayNode::Dir(dir), .. })) = (mode, &self.target)
            && !core::ptr::eq(&**dir, to)
        {
            let _inside = dir.entries.read();
            dir.expect_empty()?;
        }
        Ok(())
    }

    fn check_kinds(&self, mode: RenameMode) -> Result<()> {
        let Some(target) = self.target.as_ref().filter(|_| mode == RenameMode::Replace) else { return Ok(()) };
        match (&self.source.node, &target.node) {
            (OverlayNode::Dir(_), OverlayNode::Dir(_)) => Ok(()),
            (OverlayNode::Dir(_), _) => Err(Errno::ENOTDIR.into()),
            (_, OverlayNode::Dir(_)) => Err(Errno::EISDIR.into()),
            (_, _) => Ok(()),
        }
    }

    /// Whether all that moves is in the upper.
    fn is_ready(&self, mode: RenameMode) -> bool {
        let target_is = |wanted: fn(&End) -> bool| self.target.as_ref().is_none_or(wanted);
        self.source.in_upper == InUpper::Yes
            && match mode {
                RenameMode::Exchange => target_is(|target| target.in_upper == InUpper::Yes),
                // The count of an inode's names follows its names in the upper.
                RenameMode::Replace | RenameMode::NoReplace => {
                    target_is(|target| target.in_upper == InUpper::Yes || !target.node.is_indexed())
                }
            }
    }
}

impl Marks {
    fn changes<'a>(&'a self, subject: Subject, dir: &OverlayDir, changes: &mut Vec<XattrChange<'a>>) {
        let names = dir.core.fs.names;
        if self.redirect.is_some() {
            changes.push(XattrChange { subject, name: names.redirect, value: Some(&self.redirect_bytes) });
        }
        if self.opaque == Opacity::Opaque {
            changes.push(XattrChange { subject, name: names.opaque, value: Some(YES) });
        }
    }
}

impl OverlayNode {
    /// Copies the node up, whatever it is.
    pub(crate) fn copy_up(&self) -> Result<()> {
        match self {
            Self::Dir(node) => node.copy_up().map(drop),
            Self::File(node) => node.copy_up(Content::Attributes).map(drop),
            Self::Symlink(node) => node.copy_up(Content::Whole).map(drop),
            Self::Special(node) => node.copy_up(Content::Whole).map(drop),
        }
    }

    /// Whether its number is that of a lower inode.
    fn has_origin(&self) -> Result<bool> {
        match self {
            Self::Dir(node) => Ok(!node.lowers.is_empty()),
            Self::File(node) => node.upper().map_or(Ok(true), |upper| node.core.has_origin(&**upper)),
            Self::Symlink(node) => node.upper().map_or(Ok(true), |upper| node.core.has_origin(&**upper)),
            Self::Special(node) => node.upper().map_or(Ok(true), |upper| node.core.has_origin(&**upper)),
        }
    }

    /// Records that the node is now at `name` in `parent`.
    fn moved(&self, parent: &OverlayDir, name: Name<'_>, marks: Marks) {
        if let Self::Dir(dir) = self {
            if let Some(redirect) = marks.redirect {
                dir.set_redirect(redirect);
            }
            if let Some(parent) = parent.this.upgrade() {
                dir.set_position(parent, name);
            }
        }
    }
}

/// The entries of one or two directories, for changes.
type Entries<'a> = Held<RwLockWriteGuard<'a, ()>>;
type Both<'a> = (Entries<'a>, Option<Entries<'a>>);

/// Holds the entries of both directories, the one above first; the caller holds the rename lock, so that it stays above.
fn lock_both<'a>(from: &'a OverlayDir, to: &'a OverlayDir) -> Both<'a> {
    if core::ptr::eq(from, to) {
        return (from.entries.write(), None);
    }
    let (first, second) = if from.is_at_or_below(to) { (to, from) } else { (from, to) };
    let guard = first.entries.write();
    (guard, Some(second.entries.write()))
}
