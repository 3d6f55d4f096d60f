//! Links that lead to an open file itself, as `/proc/self/fd/N` does, name or no name.

mod common;

use std::sync::{Arc, Mutex};

use common::{World, errno};
use vfs::{
    AT_FDCWD, AtFlags, Attr, Cookie, DeviceNumber, DirOps, DirSink, Errno, Fd, FileSystem, FileType, Lead, Location,
    MountFlags, Name, Node, NodeId, NodeOps, OpenFlags, ResolveFlags, Result, StatFs, SymlinkOps, Timestamp,
};

/// `/proc/self/fd` of one process: the link `N` leads to what was put under that number.
#[derive(Default)]
struct Links(Mutex<Vec<Location>>);

struct View(Arc<Links>);

impl FileSystem for View {
    fn type_name(&self) -> &'static str {
        "links"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        Arc::new(Place { links: self.0.clone(), number: None })
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::none(0))
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

/// The number of the link that is followed as its text, `/a/f`.
const EXE: usize = 99;

/// The directory, or the link of a number.
struct Place {
    links: Arc<Links>,
    number: Option<usize>,
}

impl NodeOps for Place {
    fn id(&self) -> NodeId {
        NodeId { dev: 77, ino: self.number.map_or(1, |number| number as u64 + 2) }
    }

    fn attr(&self) -> Result<Attr> {
        Ok(Attr {
            dev: 77,
            ino: self.id().ino,
            kind: if self.number.is_some() { FileType::Symlink } else { FileType::Dir },
            mode: 0o755,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: DeviceNumber::default(),
            size: 0,
            blocks: 0,
            block_size: 4096,
            atime: Timestamp::EPOCH,
            mtime: Timestamp::EPOCH,
            ctime: Timestamp::EPOCH,
            btime: None,
            flags: None,
        })
    }
}

impl DirOps for Place {
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>> {
        let number = std::str::from_utf8(name.as_bytes()).ok().and_then(|name| name.parse().ok());
        Ok(number.map(|number| Node::Symlink(Arc::new(Self { links: self.links.clone(), number: Some(number) }))))
    }

    fn read_dir(&self, _from: Cookie, _sink: &mut dyn DirSink) -> Result<()> {
        Ok(())
    }
}

impl SymlinkOps for Place {
    fn target(&self) -> Result<Vec<u8>> {
        Ok(if self.number == Some(EXE) { b"/a/f".to_vec() } else { b"/somewhere (deleted)".to_vec() })
    }

    fn lead(&self) -> Result<Lead> {
        let links = self.links.0.lock().unwrap();
        match self.number {
            Some(EXE) => Ok(Lead::Magic),
            Some(number) => links.get(number).cloned().map(Lead::Place).ok_or_else(|| Errno::ENOENT.into()),
            None => Ok(Lead::Text),
        }
    }
}

/// A tree with `/fd`, whose links lead to what is open as the caller's descriptors.
fn world(paths: &[&str]) -> (World, Arc<Links>) {
    let world = World::new();
    world.tree(&["/fd/"]);
    world.tree(paths);
    let links = Arc::new(Links::default());
    let at = world.ns.resolve(&world.root, AT_FDCWD, b"/fd").unwrap();
    world.ns.mount_at(&at, Arc::new(View(links.clone())), b"links", MountFlags::empty()).unwrap();
    (world, links)
}

fn show(world: &World, links: &Links, fd: Fd) -> usize {
    let mut links = links.0.lock().unwrap();
    links.push(world.root.file(fd).unwrap().location().unwrap().clone());
    links.len() - 1
}

#[test]
fn a_file_without_a_name_is_opened_and_gets_a_name_by_its_link() {
    let (world, links) = world(&["/d/"]);
    let root = &world.root;
    let fd = world.open(root, "/d", OpenFlags::O_TMPFILE | OpenFlags::O_RDWR).unwrap();
    root.file(fd).unwrap().write(root, vfs::At::Position, b"content").unwrap();
    assert_eq!(show(&world, &links, fd), 0);
    let size = |path: &str| world.stat(path).map(|stat| stat.attr.size);
    assert_eq!(size("/fd/0").unwrap(), 7);
    assert!(world.open(root, "/fd/0", OpenFlags::O_RDONLY).is_ok());
    // The link itself is not of this filesystem.
    let link = |flags| world.ns.linkat(root, AT_FDCWD, b"/fd/0", AT_FDCWD, b"/d/named", flags);
    assert_eq!(errno(link(AtFlags::empty())), Errno::EXDEV);
    link(AtFlags::AT_SYMLINK_FOLLOW).unwrap();
    assert_eq!(size("/d/named").unwrap(), 7);
    assert_eq!(world.ino("/d/named"), world.stat("/fd/0").unwrap().attr.ino);
}

#[test]
fn a_removed_file_is_opened_by_its_link_and_created_never() {
    let (world, links) = world(&["/f"]);
    let root = &world.root;
    let fd = world.open(root, "/f", OpenFlags::O_RDWR).unwrap();
    show(&world, &links, fd);
    let ino = world.ino("/f");
    world.unlink(root, "/f").unwrap();
    for flags in [OpenFlags::O_RDONLY, OpenFlags::O_RDWR | OpenFlags::O_CREAT, OpenFlags::O_RDWR | OpenFlags::O_TRUNC] {
        let again = world.open(root, "/fd/0", flags).unwrap();
        assert_eq!(root.file(again).unwrap().stat().unwrap().attr.ino, ino);
    }
    assert_eq!(errno(world.open(root, "/fd/0", OpenFlags::O_NOFOLLOW)), Errno::ELOOP);
    assert_eq!(errno(world.open(root, "/fd/0", OpenFlags::O_CREAT | OpenFlags::O_EXCL)), Errno::EEXIST);
    assert_eq!(errno(world.open(root, "/fd/0/", OpenFlags::O_RDONLY)), Errno::ENOTDIR);
    assert_eq!(errno(world.stat("/fd/1")), Errno::ENOENT);
    assert_eq!(errno(world.stat("/somewhere (deleted)")), Errno::ENOENT);
}

#[test]
fn a_path_goes_on_from_where_a_link_leads() {
    let (world, links) = world(&["/a/", "/a/b/", "/a/b/f", "/l -> fd/0/b"]);
    let fd = world.open(&world.root, "/a", OpenFlags::O_RDONLY).unwrap();
    show(&world, &links, fd);
    assert_eq!(errno(world.stat("/fd/0/b/f/..")), Errno::ENOTDIR);
    for path in ["/fd/0/b/f", "/fd/0//b/./f", "/fd/0/../a/b/f", "/l/f", "/l/../b/f"] {
        assert_eq!(world.ino(path), world.ino("/a/b/f"), "{path}");
    }
    world.write("/fd/0/new", "x").unwrap();
    assert!(world.stat("/a/new").is_ok());
}

#[test]
fn resolve_flags_refuse_such_links_as_linux_does() {
    let (world, links) = world(&["/a/", "/a/f"]);
    let root = &world.root;
    let fd = world.open(root, "/a/f", OpenFlags::O_RDONLY).unwrap();
    show(&world, &links, fd);
    let open = |resolve| world.open2(root, "/fd/0", OpenFlags::O_RDONLY, resolve).map(drop);
    assert!(open(ResolveFlags::empty()).is_ok());
    assert_eq!(errno(open(ResolveFlags::RESOLVE_NO_MAGICLINKS)), Errno::ELOOP);
    assert_eq!(errno(open(ResolveFlags::RESOLVE_NO_SYMLINKS)), Errno::ELOOP);
    assert_eq!(errno(open(ResolveFlags::RESOLVE_IN_ROOT)), Errno::EXDEV);
    assert_eq!(errno(open(ResolveFlags::RESOLVE_NO_XDEV)), Errno::EXDEV);
    let beneath = |path| {
        world.ns.openat2(
            root,
            world.open(root, "/", OpenFlags::O_RDONLY).unwrap(),
            path,
            &vfs::OpenHow { resolve: ResolveFlags::RESOLVE_BENEATH, ..vfs::OpenHow::from_open(OpenFlags::O_RDONLY, 0) },
        )
    };
    assert_eq!(errno(beneath(b"fd/0")), Errno::EXDEV);
    // One that is followed by its text is magic all the same.
    let exe = |resolve| world.open2(root, "/fd/99", OpenFlags::O_RDONLY, resolve).map(drop);
    assert!(exe(ResolveFlags::empty()).is_ok());
    assert_eq!(errno(exe(ResolveFlags::RESOLVE_NO_MAGICLINKS)), Errno::ELOOP);
}
