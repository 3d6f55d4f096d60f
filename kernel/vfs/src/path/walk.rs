//! The walk itself, component by component.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::cursor::{Cursor, Held};
use super::{Bytes, Last, LookupFlags, TrailingSlash, check_text, location_of};
use crate::context::{Context, Places};
use crate::credentials::Credentials;
use crate::dentry::{Caching, Dentry};
use crate::flags::{AT_FDCWD, AtFlags, Fd, LINKS_MAX, MountFlags};
use crate::inode::Inode;
use crate::mount::Location;
use crate::namespace::{Namespace, Protection};
use crate::permission::Verdict;
use crate::topology::Topology;
use crate::{Access, Errno, Lead, NAME_MAX, Node, Result, permission};

/// Where a resolution stops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Behind the last component.
    End,
    /// Before it.
    Last,
}

/// Why a scan stopped.
enum Stop {
    End,
    Last(Last),
    /// The cache lacks the component that comes next.
    Miss,
    /// The permissions of this inode are not known.
    Triple(Arc<Inode>),
    /// The access control list of an inode is not known.
    List(Arc<Inode>),
    /// The target of this link is not known.
    Target(Arc<Dentry>),
}

/// The target of a symbolic link, as far as it is not walked yet.
struct Segment {
    text: Bytes,
    at: usize,
}

/// A resolution under way.
pub(crate) struct Walker<'a> {
    ns: &'a Namespace,
    who: &'a Credentials,
    places: Arc<Places>,
    /// Where relative paths begin, and with `BENEATH` and `IN_ROOT` the root as well; `None` for the current directory.
    base: Option<Location>,
    /// Where the walk stands; `None` where it begins.
    here: Option<Location>,
    starts_at_root: bool,
    flags: LookupFlags,
    path: &'a [u8],
    at: usize,
    /// Targets under way, the innermost last. All but the last have components left, and so has `path` if there are two.
    links: Vec<Segment>,
    followed: u32,
    /// The component that a scan stopped at, in the innermost text.
    component: (usize, usize),
    /// What was just looked up: kept from being given up before it is used, or never in the cache at all.
    pinned: Option<Arc<Dentry>>,
    /// What was just read of a link whose target is not kept.
    target: Option<(Arc<Dentry>, Bytes)>,
}

impl<'a> Walker<'a> {
    /// A walk along `path`, from `dirfd` if it is relative.
    pub(crate) fn new(
        ns: &'a Namespace,
        ctx: &'a Context,
        dirfd: Fd,
        path: &'a [u8],
        flags: LookupFlags,
    ) -> Result<Self> {
        ns.reap();
        let text_flags = if flags.contains(LookupFlags::EMPTY) { AtFlags::AT_EMPTY_PATH } else { AtFlags::empty() };
        check_text(path, text_flags)?;
        let is_absolute = path.first() == Some(&b'/');
        let scoped = flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT);
        if is_absolute && flags.contains(LookupFlags::BENEATH) {
            return Err(Errno::EXDEV.into());
        }
        let base = if (is_absolute && !scoped) || dirfd == AT_FDCWD { None } else { Some(location_of(ctx, dirfd)?) };
        if let Some(base) = base.as_ref().filter(|_| !path.is_empty())
            && !base.inode()?.is_dir()
        {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(Self {
            ns,
            who: &ctx.credentials,
            places: ctx.fs.places(),
            base,
            here: None,
            starts_at_root: is_absolute && !scoped,
            flags,
            path,
            at: 0,
            links: Vec::new(),
            followed: 0,
            component: (0, 0),
            pinned: None,
            target: None,
        })
    }

    /// Walks the whole path. What it leads to exists, and is a directory if it must be.
    pub(crate) fn walk(&mut self) -> Result<()> {
        self.run(Until::End)?;
        if self.flags.contains(LookupFlags::DIRECTORY) && !self.current().inode()?.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(())
    }

    /// Walks up to the last component, into the directory that may be searched for it.
    pub(crate) fn walk_to_last(&mut self) -> Result<Last> {
        self.run(Until::Last)
    }

    /// Where it stands.
    pub(crate) fn location(&self) -> Result<Location> {
        Ok(self.current().clone())
    }

    /// As [`location`](Self::location), at the end of its use.
    pub(crate) fn into_end(mut self) -> Result<Location> {
        match self.here.take() {
            Some(here) => Ok(here),
            None => self.location(),
        }
    }

    /// The last component, after [`walk_to_last`](Self::walk_to_last) told a name.
    pub(crate) fn last_name(&self) -> &[u8] {
        let text = self.links.last().map_or(self.path, |segment| &segment.text);
        &text[self.component.0..self.component.1]
    }

    /// Replaces the last component, found to be a symbolic link in the current directory, by its target.
    pub(crate) fn follow_last(&mut self, link: &Arc<Dentry>) -> Result<()> {
        if self.followed >= LINKS_MAX {
            return Err(Errno::ELOOP.into());
        }
        let here = self.current();
        if self.ns.protections.symlinks == Protection::On {
            let dir = here.inode()?.triple()?;
            permission::may_follow(self.ns.protections, self.who, &dir, &link.positive()?.triple()?)?;
        }
        if self.flags.contains(LookupFlags::NO_SYMLINKS) || here.mount.has(MountFlags::MS_NOSYMFOLLOW) {
            return Err(Errno::ELOOP.into());
        }
        let place = self.place_of(link)?;
        self.followed += 1;
        self.links.clear();
        self.at = self.path.len();
        if let Some(place) = place {
            return self.jump(place);
        }
        let target = link.target()?;
        if target.first() == Some(&b'/') {
            let root = self.root().clone();
            if self.flags.contains(LookupFlags::BENEATH)
                || (self.flags.contains(LookupFlags::NO_XDEV) && !Arc::ptr_eq(&root.mount, &self.current().mount))
            {
                return Err(Errno::EXDEV.into());
            }
            self.here = Some(root);
        }
        push(&mut self.links, target)
    }

    /// Where a link leads that is more than its text.
    fn place_of(&self, link: &Dentry) -> Result<Option<Location>> {
        let lead = match (&link.positive()?.node, link.caching) {
            (Node::Symlink(node), Caching::Asked) => node.lead()?,
            _ => Lead::Text,
        };
        match lead {
            Lead::Text => Ok(None),
            _ if self.flags.contains(LookupFlags::NO_MAGIC) => Err(Errno::ELOOP.into()),
            Lead::Magic => Ok(None),
            Lead::Place(place) => Ok(Some(place)),
        }
    }

    /// Moves to where a link leads that is more than its text.
    fn jump(&mut self, place: Location) -> Result<()> {
        let scoped = self.flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT);
        let elsewhere = !Arc::ptr_eq(&place.mount, &self.current().mount);
        if scoped || (self.flags.contains(LookupFlags::NO_XDEV) && elsewhere) {
            return Err(Errno::EXDEV.into());
        }
        self.here = Some(place);
        Ok(())
    }

    /// Leaves the link behind that a scan stopped at.
    fn pass(&mut self) {
        self.followed += 1;
        let text = self.links.last().map_or(self.path, |segment| &segment.text);
        let slashes = text[self.component.1..].iter().take_while(|&&byte| byte == b'/').count();
        let next = self.component.1 + slashes;
        consume(&mut self.links, &mut self.at, next);
    }

    /// Moves to an entry of the current directory, and onto what is mounted there.
    pub(crate) fn step(&mut self, child: &Arc<Dentry>) -> Result<()> {
        let next = {
            let topology = self.ns.topology.read();
            let mount = Held::Ref(&self.current().mount);
            let mut cursor = Cursor { mount, dentry: Held::Ref(child) };
            cursor.cross(&topology, self.flags)?;
            cursor.into_location()
        };
        self.here = Some(next);
        Ok(())
    }

    /// Moves to the directory above.
    pub(crate) fn step_up(&mut self) -> Result<()> {
        let next = {
            let topology = self.ns.topology.read();
            let mut cursor = Cursor::at(self.current());
            cursor.up(&topology, self.root(), self.flags)?;
            cursor.into_location()
        };
        self.here = Some(next);
        Ok(())
    }

    fn current(&self) -> &Location {
        self.here.as_ref().unwrap_or_else(|| self.start())
    }

    fn start(&self) -> &Location {
        match &self.base {
            _ if self.starts_at_root => &self.places.root,
            Some(base) => base,
            None => &self.places.cwd,
        }
    }

    fn root(&self) -> &Location {
        if self.flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT) {
            self.base.as_ref().unwrap_or(&self.places.cwd)
        } else {
            &self.places.root
        }
    }

    fn run(&mut self, until: Until) -> Result<Last> {
        loop {
            match self.scan(until)? {
                Stop::End => return Ok(Last::Root),
                Stop::Last(last) => return Ok(last),
                _ if self.flags.contains(LookupFlags::CACHED) => return Err(Errno::EAGAIN.into()),
                Stop::Miss => {
                    let child = self.ns.lookup_uncached(&self.current().dentry, self.last_name())?;
                    self.pinned = Some(child);
                }
                Stop::Triple(inode) => {
                    inode.triple()?;
                }
                Stop::List(inode) => {
                    inode.access_list()?;
                }
                Stop::Target(link) => match self.place_of(&link)? {
                    Some(place) => {
                        self.pass();
                        self.jump(place)?;
                    }
                    None => {
                        let target = link.target()?;
                        self.target = Some((link, target));
                    }
                },
            }
        }
    }

    /// Walks as far as the cache knows, and remembers where that is.
    fn scan(&mut self, until: Until) -> Result<Stop> {
        let guard = self.ns.topology.read();
        let topology: &Topology = &guard;
        let Self { ns, who, places, base, here, flags, path, at, links, followed, component, pinned, target, .. } =
            self;
        let start = match (&*here, &*base) {
            (Some(here), _) => here,
            _ if self.starts_at_root => &places.root,
            (None, Some(base)) => base,
            (None, None) => &places.cwd,
        };
        let root = if flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT) {
            base.as_ref().unwrap_or(&places.cwd)
        } else {
            &places.root
        };
        let mut cursor = Cursor::at(start);
        let mut moved = false;
        let stop = loop {
            let (text, mut begin): (&[u8], usize) = match links.last() {
                Some(segment) => (&segment.text, segment.at),
                None => (path, *at),
            };
            while text.get(begin) == Some(&b'/') {
                begin += 1;
            }
            if begin == text.len() {
                consume(links, at, begin);
                if links.pop().is_some() && (!links.is_empty() || *at < path.len()) {
                    continue;
                }
                break if until == Until::Last { Stop::Last(Last::Root) } else { Stop::End };
            }
            let inode = cursor.dentry.positive()?;
            if !inode.is_dir() {
                return Err(Errno::ENOTDIR.into());
            }
            let Some(dir) = inode.cached_triple() else { break Stop::Triple(inode.clone()) };
            match permission::judge(who, &dir, Access::EXECUTE) {
                Verdict::Granted => {}
                Verdict::ByList(listed) => match listed.cached_access_list() {
                    Some(list) => permission::check_list(who, &dir, list.as_deref(), Access::EXECUTE)?,
                    None => break Stop::List(inode.clone()),
                },
                Verdict::Refused => return Err(Errno::EACCES.into()),
            }
            let rest = &text[begin..];
            let len = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
            let mut next = begin + len;
            while text.get(next) == Some(&b'/') {
                next += 1;
            }
            let name = &rest[..len];
            let slash = if next > begin + len { TrailingSlash::Yes } else { TrailingSlash::No };
            let ends_text = next == text.len();
            // Only the innermost text and the outermost path can be at their ends, and the path only below one link.
            let depth = links.len();
            let is_last = ends_text && (depth == 0 || (depth == 1 && *at == path.len()));
            if is_last && until == Until::Last {
                *component = (begin, begin + len);
                break Stop::Last(match name {
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    _ => Last::Name(slash),
                });
            }
            if let b"." | b".." = name {
                if len == 2 {
                    cursor.up(topology, root, *flags)?;
                    moved = true;
                }
                consume(links, at, next);
                continue;
            }
            if len > NAME_MAX {
                return Err(if inode.is_dead() { Errno::ENOENT.into() } else { Errno::ENAMETOOLONG.into() });
            }
            let child = match (topology.lookup(&cursor.dentry, name), &*pinned) {
                (Some(child), _) => Held::Ref(child),
                (None, Some(child)) if !child.is_unlinked() && child.is_at(&cursor.dentry, name) => {
                    Held::Own(child.clone())
                }
                (None, _) => {
                    *component = (begin, begin + len);
                    break Stop::Miss;
                }
            };
            let Some(inode) = child.inode() else { return Err(Errno::ENOENT.into()) };
            if is_last && slash == TrailingSlash::Yes {
                *flags |= LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
            }
            if inode.is_symlink() && (!is_last || flags.contains(LookupFlags::FOLLOW)) {
                if *followed >= LINKS_MAX {
                    return Err(Errno::ELOOP.into());
                }
                if is_last && ns.protections.symlinks == Protection::On {
                    let Some(link) = inode.cached_triple() else { break Stop::Triple(inode.clone()) };
                    permission::may_follow(ns.protections, who, &dir, &link)?;
                }
                if flags.contains(LookupFlags::NO_SYMLINKS) || cursor.mount.has(MountFlags::MS_NOSYMFOLLOW) {
                    return Err(Errno::ELOOP.into());
                }
                let target = match (child.caching, inode.cached_target(), &*target) {
                    (Caching::Kept, Some(kept), _) => kept.clone(),
                    (Caching::Asked, _, Some((link, read))) if Arc::ptr_eq(link, &child) => read.clone(),
                    _ => {
                        *component = (begin, begin + len);
                        break Stop::Target(child.into_owned());
                    }
                };
                *followed += 1;
                consume(links, at, next);
                if ends_text {
                    links.pop();
                }
                if target.first() == Some(&b'/') {
                    if flags.contains(LookupFlags::BENEATH)
                        || (flags.contains(LookupFlags::NO_XDEV) && !Arc::ptr_eq(&root.mount, &cursor.mount))
                    {
                        return Err(Errno::EXDEV.into());
                    }
                    cursor = Cursor::at(root);
                    moved = true;
                }
                push(links, target)?;
                continue;
            }
            cursor.dentry = child;
            cursor.cross(topology, *flags)?;
            moved = true;
            consume(links, at, next);
        };
        if moved {
            let location = cursor.into_location();
            drop(guard);
            // What the walk held before may be the last share of a dentry: dropped without the lock.
            self.here = Some(location);
        }
        Ok(stop)
    }
}

/// Moves the innermost text on.
fn consume(links: &mut [Segment], at: &mut usize, next: usize) {
    match links.last_mut() {
        Some(segment) => segment.at = next,
        None => *at = next,
    }
}

fn push(links: &mut Vec<Segment>, text: Bytes) -> Result<()> {
    links.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    links.push(Segment { text, at: 0 });
    Ok(())
}
