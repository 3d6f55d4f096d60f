//! `/proc`: what programs such as `mount`, `df`, `free` and `ps` read.
//!
//! Nothing is kept: a directory is a fixed list or the process table, a file's text is made when it is read ([`text`]). The nodes
//! name a [`Place`] and find everything else again at each call.

mod text;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use base::sort;
use vfs::{
    Attr, Cookie, DeviceNumber, DirEntry, DirOps, DirSink, Errno, FileOps, FileSystem, FileType, FsContext, Lead, Name,
    Node, NodeId, NodeOps, OpenIntent, Result, StatFs, SymlinkOps, Timestamp,
};

use crate::task::{self, process};
use text::{ProcessText, SystemText};

/// `PROC_SUPER_MAGIC` of `<linux/magic.h>`.
const MAGIC: u64 = 0x9fa0;

/// The filesystem.
pub(crate) struct ProcFs {
    shared: Arc<Shared>,
}

struct Shared {
    context: FsContext,
    made: Timestamp,
}

impl ProcFs {
    /// A view of the running system.
    pub(crate) fn new(context: FsContext) -> Arc<Self> {
        let made = context.clock.now();
        Arc::new(Self { shared: Arc::new(Shared { context, made }) })
    }
}

impl FileSystem for ProcFs {
    fn type_name(&self) -> &'static str {
        "proc"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        Arc::new(ProcNode { shared: self.shared.clone(), place: Place::Root })
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::none(MAGIC))
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn is_volatile(&self) -> bool {
        // Processes come and go, and `self` is someone else's each time.
        true
    }
}

/// What a node shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// A file about the whole system.
    System(SystemText),
    /// `self`
    Own,
    /// `mounts`, a link to `self/mounts`.
    Mounts,
    /// `sys/kernel` and what leads there.
    Sys,
    SysKernel,
    /// A process's directory.
    Process(i32),
    /// A file about a process.
    Text(i32, ProcessText),
    /// `cwd`, `root`, `exe`.
    Link(i32, ProcessLink),
    /// Its descriptors.
    Descriptors(i32),
    /// One of them.
    Descriptor(i32, i32),
}

/// A link of a process's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProcessLink {
    Cwd,
    Root,
    Exe,
}

const LINKS: [(&str, ProcessLink); 3] =
    [("cwd", ProcessLink::Cwd), ("root", ProcessLink::Root), ("exe", ProcessLink::Exe)];

impl Place {
    /// The inode number: the process in the upper half, what of it in the lower.
    fn ino(self) -> u64 {
        let of = |pid: i32, item: u64| (pid as u64) << 32 | item;
        match self {
            Self::Root => 1,
            Self::Own => 2,
            Self::Mounts => 3,
            Self::Sys => 4,
            Self::SysKernel => 5,
            Self::System(text) => 16 + text as u64,
            Self::Process(pid) => of(pid, 1),
            Self::Text(pid, text) => of(pid, 16 + text as u64),
            Self::Link(pid, link) => of(pid, 8 + link as u64),
            Self::Descriptors(pid) => of(pid, 2),
            Self::Descriptor(pid, fd) => of(pid, 0x1000 + fd as u64),
        }
    }

    fn kind(self) -> FileType {
        match self {
            Self::Root | Self::Sys | Self::SysKernel | Self::Process(_) | Self::Descriptors(_) => FileType::Dir,
            Self::Own | Self::Mounts | Self::Link(..) | Self::Descriptor(..) => FileType::Symlink,
            Self::System(_) | Self::Text(..) => FileType::File,
        }
    }

    fn mode(self) -> u16 {
        match self {
            Self::Descriptors(_) => 0o500,
            Self::Descriptor(..) => 0o700,
            _ => match self.kind() {
                FileType::Dir => 0o555,
                FileType::Symlink => 0o777,
                _ => 0o444,
            },
        }
    }

    /// Whose it is: a process's things belong to whom it acts as, the rest to root.
    fn owner(self) -> (u32, u32) {
        let (Self::Process(pid)
        | Self::Text(pid, _)
        | Self::Link(pid, _)
        | Self::Descriptors(pid)
        | Self::Descriptor(pid, _)) = self
        else {
            return (0, 0);
        };
        let ids = process::find(pid).and_then(|process| process.ids()).unwrap_or_default();
        (ids.uid[1], ids.gid[1])
    }

    /// What a directory holds under a name.
    fn child(self, name: &[u8]) -> Option<Self> {
        let name = core::str::from_utf8(name).ok()?;
        match self {
            Self::Root => match name {
                "self" | "thread-self" => Some(Self::Own),
                "mounts" => Some(Self::Mounts),
                "sys" => Some(Self::Sys),
                _ => SystemText::named(name).filter(|text| !text.is_setting()).map(Self::System).or_else(|| {
                    let pid: i32 = name.parse().ok()?;
                    process::find(pid).filter(|_| !name.starts_with(['0', '+'])).map(|_| Self::Process(pid))
                }),
            },
            Self::Sys => (name == "kernel").then_some(Self::SysKernel),
            Self::SysKernel => SystemText::named(name).filter(|text| text.is_setting()).map(Self::System),
            Self::Process(pid) => {
                let link = LINKS.iter().find(|(link, _)| *link == name).map(|(_, link)| Self::Link(pid, *link));
                link.or_else(|| (name == "fd").then_some(Self::Descriptors(pid)))
                    .or_else(|| ProcessText::named(name).map(|text| Self::Text(pid, text)))
            }
            Self::Descriptors(pid) => {
                let fd: i32 = name.parse().ok()?;
                descriptors(pid).contains(&fd).then_some(Self::Descriptor(pid, fd))
            }
            _ => None,
        }
    }

    /// All that a directory holds.
    fn children(self) -> Vec<(String, Self)> {
        let mut list = Vec::new();
        match self {
            Self::Root => {
                for name in ["self", "mounts", "sys"] {
                    list.extend(self.child(name.as_bytes()).map(|place| (name.into(), place)));
                }
                let system = SystemText::ALL.iter().filter(|text| !text.is_setting());
                list.extend(system.map(|text| (text.name().into(), Self::System(*text))));
                list.extend(
                    process::all().iter().map(|process| (format!("{}", process.pid()), Self::Process(process.pid()))),
                );
            }
            Self::Sys => list.push(("kernel".into(), Self::SysKernel)),
            Self::SysKernel => {
                let settings = SystemText::ALL.iter().filter(|text| text.is_setting());
                list.extend(settings.map(|text| (text.name().into(), Self::System(*text))));
            }
            Self::Process(pid) => {
                list.extend(LINKS.iter().map(|(name, link)| ((*name).into(), Self::Link(pid, *link))));
                list.push(("fd".into(), Self::Descriptors(pid)));
                list.extend(ProcessText::ALL.iter().map(|text| (text.name().into(), Self::Text(pid, *text))));
            }
            Self::Descriptors(pid) => {
                list.extend(descriptors(pid).into_iter().map(|fd| (format!("{fd}"), Self::Descriptor(pid, fd))));
            }
            _ => {}
        }
        list
    }
}

fn descriptors(pid: i32) -> Vec<i32> {
    process::find(pid).and_then(|process| process.shown()).map(|shown| shown.files.descriptors()).unwrap_or_default()
}

struct ProcNode {
    shared: Arc<Shared>,
    place: Place,
}

impl ProcNode {
    fn node(&self, place: Place) -> Node {
        let node = Arc::new(Self { shared: self.shared.clone(), place });
        match place.kind() {
            FileType::Dir => Node::Dir(node),
            FileType::Symlink => Node::Symlink(node),
            _ => Node::File(node),
        }
    }

    fn text(&self) -> Result<Vec<u8>> {
        match self.place {
            Place::System(text) => Ok(text.make()),
            Place::Text(pid, text) => {
                // A process that ended, or the number of another: gone is gone.
                let process = process::find(pid).ok_or(Errno::ESRCH)?;
                Ok(text.make(&process))
            }
            _ => Err(Errno::EINVAL.into()),
        }
    }
}

impl NodeOps for ProcNode {
    fn id(&self) -> NodeId {
        NodeId { dev: self.shared.context.dev, ino: self.place.ino() }
    }

    fn attr(&self) -> Result<Attr> {
        let kind = self.place.kind();
        let (uid, gid) = self.place.owner();
        Ok(Attr {
            dev: self.shared.context.dev,
            ino: self.place.ino(),
            kind,
            mode: self.place.mode(),
            nlink: if kind == FileType::Dir { 2 } else { 1 },
            uid,
            gid,
            rdev: DeviceNumber::default(),
            size: 0,
            blocks: 0,
            block_size: 1024,
            atime: self.shared.made,
            mtime: self.shared.made,
            ctime: self.shared.made,
            btime: None,
            flags: None,
        })
    }
}

impl DirOps for ProcNode {
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>> {
        Ok(self.place.child(name.as_bytes()).map(|place| self.node(place)))
    }

    fn read_dir(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        // The inode number orders the entries, so that a place in the list stays one while processes come and go.
        let mut children = self.place.children();
        sort::by_key(&mut children, |(_, place)| place.ino());
        for (name, place) in children {
            let next = Cookie(place.ino() + Cookie::FIRST);
            if next <= from {
                continue;
            }
            let entry = DirEntry { name: Name::new(name.as_bytes())?, ino: place.ino(), kind: place.kind(), next };
            if sink.entry(&entry) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

impl FileOps for ProcNode {
    fn prepare_open(&self, intent: OpenIntent) -> Result<()> {
        match intent {
            OpenIntent::Read => Ok(()),
            OpenIntent::Write | OpenIntent::Truncate => Err(Errno::EACCES.into()),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let text = self.text()?;
        let rest = usize::try_from(offset).ok().and_then(|offset| text.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

impl SymlinkOps for ProcNode {
    fn target(&self) -> Result<Vec<u8>> {
        match self.place {
            Place::Own => match task::current_pid() {
                0 => Err(Errno::ENOENT.into()),
                pid => Ok(format!("{pid}").into_bytes()),
            },
            Place::Mounts => Ok(b"self/mounts".to_vec()),
            Place::Link(pid, link) => {
                let process = process::find(pid).ok_or(Errno::ENOENT)?;
                let shown = process.shown().ok_or(Errno::ENOENT)?;
                match link {
                    ProcessLink::Exe => {
                        Some(process.title().path).filter(|path| !path.is_empty()).ok_or_else(|| Errno::ENOENT.into())
                    }
                    ProcessLink::Cwd => Ok(text::path_of(&shown.fs.cwd())),
                    ProcessLink::Root => Ok(text::path_of(&shown.fs.root())),
                }
            }
            Place::Descriptor(pid, fd) => {
                let shown = process::find(pid).and_then(|process| process.shown()).ok_or(Errno::ENOENT)?;
                let file = shown.files.get(fd).map_err(|_| Errno::ENOENT)?;
                match file.location() {
                    Some(location) => Ok(text::path_of(location)),
                    None => {
                        let attr = file.stat()?.attr;
                        match attr.kind {
                            FileType::Fifo => Ok(format!("pipe:[{}]", attr.ino).into_bytes()),
                            FileType::Socket => Ok(format!("socket:[{}]", attr.ino).into_bytes()),
                            _ => Ok(b"/dev/console".to_vec()),
                        }
                    }
                }
            }
            _ => Err(Errno::EINVAL.into()),
        }
    }

    fn lead(&self) -> Result<Lead> {
        // What another process has is found by its path alone, as far as one's own root and permissions allow.
        let own = |pid: i32| process::find(pid).filter(|_| pid == task::current_pid())?.shown();
        let place = match self.place {
            Place::Link(pid, ProcessLink::Cwd) => own(pid).map(|shown| shown.fs.cwd()),
            Place::Link(pid, ProcessLink::Root) => own(pid).map(|shown| shown.fs.root()),
            Place::Descriptor(pid, fd) => match own(pid) {
                Some(shown) => shown.files.get(fd).map_err(|_| Errno::ENOENT)?.location().cloned(),
                None => None,
            },
            Place::Link(..) => None,
            _ => return Ok(Lead::Text),
        };
        Ok(place.map_or(Lead::Magic, Lead::Place))
    }
}
