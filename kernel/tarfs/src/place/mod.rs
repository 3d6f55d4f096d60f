//! Members become a tree: each is placed as GNU tar would extract it, below the root whatever its name says.
//!
//! Where GNU tar fails for a member and goes on, the member is left out here, with a warning: a file over a directory
//! that is not empty, a name through something that is no directory, a link to nothing. Hard links are `links`' part.

mod links;

use alloc::vec::Vec;

use base::time::Timestamp;
use vfs::{DeviceNumber, FileType, NAME_MAX};

use crate::error::{Reason, Shown, TarError, kept, no_memory};
use crate::fingerprint::Fingerprint;
use crate::fs::Layer;
use crate::index::{self, Index};
use crate::reader::{Kind, Member, Reader};
use crate::record::{Content, DentryIndex, Extra, Inode, InodeIndex, Overlay, ROOT, Run};
use crate::span::{NameSpan, Span};
use crate::whiteout::{self, Mark};
use crate::xattr::{self, Xattr};

/// The longest path and link target, in bytes (`PATH_MAX` of `<linux/limits.h>`, without its NUL).
const PATH_MAX: usize = 4095;
/// Permissions of a directory that only the names of its entries speak of.
const IMPLIED_MODE: u16 = 0o755;
/// Members left out that get a line in the log each; the rest are counted.
const LEFT_OUT_LOGGED: u32 = 16;

/// An archive, indexed.
pub(crate) struct Placed {
    pub(crate) index: Index,
    /// Members that found no place.
    pub(crate) left_out: u32,
    pub(crate) fingerprint: Fingerprint,
    /// Where the archive ends.
    pub(crate) end: usize,
}

/// Indexes the archive that begins at `start`.
pub(crate) fn place_all(archive: &[u8], start: usize, layer: Layer) -> Result<Placed, TarError> {
    let mut reader = Reader::new(archive, start)?;
    let mut builder = Builder::new(archive, layer)?;
    while let Some(member) = reader.next()? {
        builder.place(&member, &reader)?;
    }
    builder.place_forward_links()?;
    let Builder { mut index, left_out, .. } = builder;
    if left_out > LEFT_OUT_LOGGED {
        log::warn!("tar: {left_out} members left out in all");
    }
    let end = reader.position();
    let (decoded, fingerprint) = reader.finish();
    index.decoded = decoded;
    index.compact();
    Ok(Placed { index, left_out, fingerprint, end })
}

struct Builder<'a> {
    archive: &'a [u8],
    layer: Layer,
    index: Index,
    /// Components of the path at hand, and of a link's target.
    path: Vec<NameSpan>,
    /// The directories on the way to the last member: the next is mostly beside it.
    trail: Vec<(NameSpan, InodeIndex)>,
    /// Hard links whose targets have not come yet.
    forward: Vec<Member>,
    /// Extended attributes of the global headers of a version, where they are already in the index.
    global_xattrs: Option<(u32, Run)>,
    /// Extended attributes from more than one source.
    merged: Vec<Xattr>,
    left_out: u32,
    /// Whether the root's attributes still are those of no member.
    root_is_implied: bool,
}

impl<'a> Builder<'a> {
    fn new(archive: &'a [u8], layer: Layer) -> Result<Self, TarError> {
        Ok(Self {
            archive,
            layer,
            index: Index::new(Inode::dir(IMPLIED_MODE, Timestamp::EPOCH))?,
            path: Vec::new(),
            trail: Vec::new(),
            forward: Vec::new(),
            global_xattrs: None,
            merged: Vec::new(),
            left_out: 0,
            root_is_implied: true,
        })
    }

    fn place(&mut self, member: &Member, reader: &Reader<'_>) -> Result<(), TarError> {
        if self.root_is_implied {
            // A root that no member describes is as old as the first one.
            self.root_is_implied = false;
            *self.index.inode_mut(ROOT) = Inode::dir(IMPLIED_MODE, member.mtime);
        }
        let mut path = core::mem::take(&mut self.path);
        let result = self.components(member, &mut path).and_then(|()| self.place_at(member, reader, &path));
        self.path = path;
        result
    }

    /// Splits a member's name. `.` and empty components vanish, `..` takes the component before it away and stops at the
    /// root.
    fn components(&self, member: &Member, path: &mut Vec<NameSpan>) -> Result<(), TarError> {
        path.clear();
        let [prefix, name] = member.path;
        let len = prefix.len + usize::from(!prefix.is_empty()) + name.len;
        if len > PATH_MAX {
            let shown = kept(name.of(self.archive));
            return Err(TarError::new(member.offset, Reason::PathTooLong(shown)));
        }
        self.split(prefix, member.offset, path)?;
        self.split(name, member.offset, path)
    }

    fn split(&self, text: Span, offset: usize, path: &mut Vec<NameSpan>) -> Result<(), TarError> {
        let bytes = text.of(self.archive);
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            let (component, after) = rest.split_at(len);
            let span = Span::new(text.start + (bytes.len() - rest.len()), len);
            rest = after.get(1..).unwrap_or_default();
            match component {
                b"" | b"." => {}
                b".." => {
                    path.pop();
                }
                _ if len > NAME_MAX => {
                    return Err(TarError::new(offset, Reason::NameTooLong(kept(component))));
                }
                _ => {
                    path.try_reserve(1).map_err(no_memory(offset))?;
                    path.push(NameSpan::new(span).ok_or_else(|| TarError::new(offset, Reason::TooMany("bytes")))?);
                }
            }
        }
        Ok(())
    }

    fn place_at(&mut self, member: &Member, reader: &Reader<'_>, path: &[NameSpan]) -> Result<(), TarError> {
        let Some((&last, parents)) = path.split_last() else {
            return match member.kind {
                Kind::Dir => self.update_dir(ROOT, member, reader),
                _ => self.leave_out(member, "the root can only be a directory"),
            };
        };
        let mark = match self.layer {
            Layer::Plain => Mark::None,
            Layer::Oci => {
                if parents.iter().any(|&name| whiteout::is_reserved(self.text(name))) {
                    return self.leave_out(member, "it is below a whiteout");
                }
                whiteout::mark(last.span(), self.archive, member.offset)?
            }
        };
        if matches!(mark, Mark::Ignored) {
            return Ok(());
        }
        let Some(parent) = self.parent(parents, member)? else {
            return self.leave_out(member, "its name leads through something that is no directory");
        };
        match mark {
            Mark::None | Mark::Ignored => self.place_in(parent, last, member, reader),
            Mark::Opaque => {
                self.index.inode_mut(parent).overlay = Overlay::Opaque;
                Ok(())
            }
            Mark::Hides(name) => self.place_whiteout(parent, name, member),
        }
    }

    /// The directory at the end of `path`, made where it is missing; `None` where the way leads through anything else.
    fn parent(&mut self, path: &[NameSpan], member: &Member) -> Result<Option<InodeIndex>, TarError> {
        let same = |step: &(&(NameSpan, InodeIndex), &NameSpan)| self.text(step.0.0) == self.text(*step.1);
        let known = self.trail.iter().zip(path).take_while(same).count();
        self.trail.truncate(known);
        let mut dir = self.trail.last().map_or(ROOT, |&(_, dir)| dir);
        for &name in &path[known..] {
            let Some(inner) = self.subdirectory(dir, name, member)? else { return Ok(None) };
            dir = inner;
            self.trail.try_reserve(1).map_err(no_memory(member.offset))?;
            self.trail.push((name, dir));
        }
        Ok(Some(dir))
    }

    fn subdirectory(
        &mut self,
        dir: InodeIndex,
        name: NameSpan,
        member: &Member,
    ) -> Result<Option<InodeIndex>, TarError> {
        let there = self.find(dir, name);
        let overlay = match there.map(|(_, inode)| (inode, self.index.inode(inode))) {
            Some((inode, record)) if record.is_dir() => return Ok(Some(inode)),
            Some((_, record)) if record.overlay == Overlay::Whiteout => Overlay::Opaque,
            Some(_) => return Ok(None),
            None => Overlay::Plain,
        };
        let mut implied = Inode::dir(IMPLIED_MODE, member.mtime);
        implied.overlay = overlay;
        let inner = self.index.add_inode(implied, member.offset)?;
        match there {
            Some((dentry, _)) => self.index.replace(dentry, inner, member.offset)?,
            None => self.index.add_dentry(self.archive, dir, name, inner, member.offset)?,
        }
        Ok(Some(inner))
    }

    /// Places a member in its directory, as tar does with what is there.
    fn place_in(
        &mut self,
        parent: InodeIndex,
        name: NameSpan,
        member: &Member,
        reader: &Reader<'_>,
    ) -> Result<(), TarError> {
        let there = self.find(parent, name);
        if let Some((_, inode)) = there {
            let record = self.index.inode(inode);
            match (member.kind, record.is_dir()) {
                (Kind::Dir, true) => return self.update_dir(inode, member, reader),
                (_, true) if record.size > 0 => {
                    return self.leave_out(member, "a directory that is not empty is in its place");
                }
                _ => {}
            }
        }
        if member.kind == Kind::HardLink {
            return match self.target(member)? {
                Some(target) => self.link(parent, name, target, member),
                None => {
                    self.forward.try_reserve(1).map_err(no_memory(member.offset))?;
                    self.forward.push(*member);
                    Ok(())
                }
            };
        }
        if member.kind == Kind::Symlink {
            if member.link.is_empty() {
                return self.leave_out(member, "it is a symbolic link to nothing");
            }
            if member.link.len > PATH_MAX {
                let shown = kept(member.path[1].of(self.archive));
                return Err(TarError::new(member.offset, Reason::TargetTooLong(shown)));
            }
        }
        let mut inode = inode_of(member);
        let is_whiteout = |(_, inode)| self.index.inode(inode).overlay == Overlay::Whiteout;
        if member.kind == Kind::Dir && there.is_some_and(is_whiteout) {
            inode.overlay = Overlay::Opaque;
        }
        inode.set_extra(self.extra(member, reader, &[])?);
        let inode = self.index.add_inode(inode, member.offset)?;
        self.enter(parent, name, there, inode, member)
    }

    /// Puts an inode at a name, in place of what is there.
    fn enter(
        &mut self,
        parent: InodeIndex,
        name: NameSpan,
        there: Option<(DentryIndex, InodeIndex)>,
        inode: InodeIndex,
        member: &Member,
    ) -> Result<(), TarError> {
        match there {
            Some((dentry, old)) => {
                if self.index.inode(old).is_dir() {
                    self.trail.clear();
                }
                self.index.replace(dentry, inode, member.offset)
            }
            None => self.index.add_dentry(self.archive, parent, name, inode, member.offset),
        }
    }

    /// A directory that is there takes over the attributes of a later member; its extended attributes are added to.
    fn update_dir(&mut self, dir: InodeIndex, member: &Member, reader: &Reader<'_>) -> Result<(), TarError> {
        let old = self.index.inode(dir);
        let mut updated = *old;
        updated.set_attributes(&inode_of(member));
        let inherited = self.index.extra(old).map_or(Run::default(), |extra| extra.xattrs);
        let kept = self.index.xattrs.get(inherited.start as usize..).unwrap_or_default();
        let mut before = Vec::new();
        before.try_reserve(inherited.len as usize).map_err(no_memory(member.offset))?;
        before.extend_from_slice(kept.get(..inherited.len as usize).unwrap_or_default());
        updated.set_extra(self.extra(member, reader, &before)?);
        *self.index.inode_mut(dir) = updated;
        Ok(())
    }

    /// The side record that a member needs, if any. `before` are extended attributes that it adds to.
    fn extra(&mut self, member: &Member, reader: &Reader<'_>, before: &[Xattr]) -> Result<Option<u32>, TarError> {
        let (global, version) = reader.global_xattrs();
        let own = reader.own_xattrs();
        let sparse = member.kind == Kind::SparseFile;
        if member.other_times.is_none() && !sparse && own.is_empty() && global.is_empty() && before.is_empty() {
            return Ok(None);
        }
        let [atime, ctime] = member.other_times.unwrap_or([member.mtime; 2]);
        let mut extra = Extra::new(atime, ctime);
        if sparse {
            extra.extents = index::append(&mut self.index.extents, reader.extents(), member.offset)?;
        }
        extra.xattrs = match (before, global, own) {
            ([], [], []) => Run::default(),
            ([], [], own) => index::append(&mut self.index.xattrs, own, member.offset)?,
            ([], global, []) => match self.global_xattrs {
                Some((known, run)) if known == version => run,
                _ => {
                    let run = index::append(&mut self.index.xattrs, global, member.offset)?;
                    self.global_xattrs = Some((version, run));
                    run
                }
            },
            (before, global, own) => {
                self.merged.clear();
                for &attribute in before.iter().chain(global).chain(own) {
                    xattr::put(&mut self.merged, attribute, self.archive, reader.decoded())
                        .map_err(|reason| TarError::new(member.offset, reason))?;
                }
                index::append(&mut self.index.xattrs, &self.merged, member.offset)?
            }
        };
        self.index.add_extra(extra, member.offset).map(Some)
    }

    /// A whiteout hides a name of lower layers; what this layer itself has of the name stays, and a directory hides all
    /// that lies below it.
    fn place_whiteout(&mut self, parent: InodeIndex, name: NameSpan, member: &Member) -> Result<(), TarError> {
        if let Some((_, inode)) = self.find(parent, name) {
            let record = self.index.inode_mut(inode);
            if record.is_dir() {
                record.overlay = Overlay::Opaque;
            }
            return Ok(());
        }
        let content = Content::Device { number: DeviceNumber::new(0, 0) };
        let mut inode = Inode::new(FileType::CharDevice, 0, member.mtime, content);
        inode.overlay = Overlay::Whiteout;
        let inode = self.index.add_inode(inode, member.offset)?;
        self.index.add_dentry(self.archive, parent, name, inode, member.offset)
    }

    fn find(&self, dir: InodeIndex, name: NameSpan) -> Option<(DentryIndex, InodeIndex)> {
        let dentry = self.index.find(self.archive, dir, self.text(name))?;
        Some((dentry, self.index.dentry(dentry).inode))
    }

    fn text(&self, name: NameSpan) -> &'a [u8] {
        name.span().of(self.archive)
    }

    fn leave_out(&mut self, member: &Member, why: &str) -> Result<(), TarError> {
        self.left_out = self.left_out.saturating_add(1);
        if self.left_out <= LEFT_OUT_LOGGED {
            let [prefix, name] = member.path.map(|part| part.of(self.archive));
            let slash = if prefix.is_empty() { "" } else { "/" };
            let (prefix, name) = (Shown(prefix), Shown(name));
            match slash {
                "" => log::warn!("tar: offset {}: {name} left out: {why}", member.offset),
                _ => log::warn!("tar: offset {}: {name} in {prefix} left out: {why}", member.offset),
            }
        }
        Ok(())
    }
}

/// The record of what a member makes, without its side record.
fn inode_of(member: &Member) -> Inode {
    let (kind, content, size) = match member.kind {
        Kind::Dir => return Inode::dir(member.mode, member.mtime).owned_by(member.uid, member.gid),
        // A hard link makes none; it is placed before this is asked.
        Kind::File | Kind::HardLink => (FileType::File, Content::File { place: member.data.start as u64 }, member.size),
        Kind::SparseFile => (FileType::File, Content::SparseFile, member.size),
        Kind::Symlink => {
            (FileType::Symlink, Content::Symlink { place: member.link.start as u64 }, member.link.len as u64)
        }
        Kind::CharDevice | Kind::BlockDevice => {
            let number = DeviceNumber::new(member.device.0, member.device.1);
            let kind = if member.kind == Kind::CharDevice { FileType::CharDevice } else { FileType::BlockDevice };
            (kind, Content::Device { number }, 0)
        }
        Kind::Fifo => (FileType::Fifo, Content::Fifo, 0),
    };
    // Linux gives every symbolic link all permissions.
    let mode = if kind == FileType::Symlink { 0o777 } else { member.mode };
    let mut inode = Inode::new(kind, mode, member.mtime, content).owned_by(member.uid, member.gid);
    inode.size = size;
    inode
}
