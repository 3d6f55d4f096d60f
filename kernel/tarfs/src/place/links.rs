//! Hard links: one more name for an earlier member's inode. tar knows the target by its name at that point of the archive,
//! so a link keeps the inode of a member that a later one replaces. A target that comes only after the link, where tar
//! gives up, is found at the end.

use alloc::vec::Vec;

use super::{Builder, PATH_MAX};
use crate::error::{Reason, TarError, kept};
use crate::reader::Member;
use crate::record::{InodeIndex, ROOT};
use crate::span::NameSpan;

/// How many links may lead one to the next before the member that they mean.
const FORWARD_ROUNDS: usize = 8;

impl Builder<'_> {
    /// Gives an inode one more name.
    pub(super) fn link(
        &mut self,
        parent: InodeIndex,
        name: NameSpan,
        target: InodeIndex,
        member: &Member,
    ) -> Result<(), TarError> {
        if self.index.inode(target).is_dir() {
            return self.leave_out(member, "it is a hard link to a directory");
        }
        let there = self.find(parent, name);
        if there.is_some_and(|(_, inode)| inode == target) {
            return Ok(());
        }
        let record = self.index.inode_mut(target);
        let nlink = record.nlink.checked_add(1);
        record.nlink = nlink.ok_or_else(|| TarError::new(member.offset, Reason::TooMany("links")))?;
        self.enter(parent, name, there, target, member)
    }

    /// The inode that a hard link means; `None` if there is none of the name.
    pub(super) fn target(&self, member: &Member) -> Result<Option<InodeIndex>, TarError> {
        let mut path = Vec::new();
        if member.link.len > PATH_MAX {
            let shown = kept(member.path[1].of(self.archive));
            return Err(TarError::new(member.offset, Reason::TargetTooLong(shown)));
        }
        self.split(member.link, member.offset, &mut path)?;
        Ok(path.iter().try_fold(ROOT, |dir, &name| self.find(dir, name).map(|(_, inode)| inode)))
    }

    /// Places the links whose targets came after them, unless another member took the name.
    pub(super) fn place_forward_links(&mut self) -> Result<(), TarError> {
        let mut waiting = core::mem::take(&mut self.forward);
        let mut path = Vec::new();
        for _ in 0..FORWARD_ROUNDS {
            let before = waiting.len();
            let mut failure = None;
            waiting.retain(|link| {
                if failure.is_some() {
                    return true;
                }
                match self.place_forward_link(link, &mut path) {
                    Ok(found) => found.is_none(),
                    Err(error) => {
                        failure = Some(error);
                        true
                    }
                }
            });
            if let Some(error) = failure {
                return Err(error);
            }
            if waiting.is_empty() || waiting.len() == before {
                break;
            }
        }
        waiting.iter().try_for_each(|link| self.leave_out(link, "it is a hard link to nothing"))
    }

    fn place_forward_link(
        &mut self,
        member: &Member,
        path: &mut Vec<NameSpan>,
    ) -> Result<Option<InodeIndex>, TarError> {
        let Some(target) = self.target(member)? else { return Ok(None) };
        self.components(member, path)?;
        let Some((&last, parents)) = path.split_last() else { return Ok(Some(target)) };
        match self.parent(parents, member)? {
            Some(parent) => {
                if self.find(parent, last).is_none() {
                    self.link(parent, last, target, member)?;
                }
            }
            None => self.leave_out(member, "its name leads through something that is no directory")?,
        }
        Ok(Some(target))
    }
}
