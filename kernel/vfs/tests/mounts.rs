//! Mounts: crossing them, their flags, taking them away.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{World, errno, ramfs};
use contract::fault::{Calls, FaultFs};
use vfs::{
    AT_FDCWD, AtFlags, DirOps, Errno, FileSystem, FileSystemTypes, MountFlags, MountRequest, OpenFlags, RenameFlags,
    ResolveFlags, Result, StatFs, UmountFlags,
};

/// A filesystem that counts how often it was unmounted and synced.
struct Watched {
    inner: Arc<dyn FileSystem>,
    unmounted: AtomicU64,
    synced: AtomicU64,
}

impl FileSystem for Watched {
    fn type_name(&self) -> &'static str {
        "watched"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        self.inner.root()
    }

    fn statfs(&self) -> Result<StatFs> {
        self.inner.statfs()
    }

    fn sync(&self) -> Result<()> {
        self.synced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn unmount(&self) -> Result<()> {
        self.unmounted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }
}

static NEXT_DEV: AtomicU64 = AtomicU64::new(100);

fn watched() -> Arc<Watched> {
    let inner = ramfs(NEXT_DEV.fetch_add(1, Ordering::Relaxed));
    Arc::new(Watched { inner, unmounted: AtomicU64::new(0), synced: AtomicU64::new(0) })
}

fn mount(world: &World, path: &str, flags: MountFlags) -> Arc<Watched> {
    let fs = watched();
    let at = world.ns.resolve(&world.root, AT_FDCWD, path.as_bytes()).unwrap();
    world.ns.mount_at(&at, fs.clone(), b"watched", flags).unwrap();
    fs
}

fn umount(world: &World, path: &str) -> Result<()> {
    world.ns.umount(&world.root, path.as_bytes(), UmountFlags::empty())
}

fn unmounted(fs: &Watched) -> u64 {
    fs.unmounted.load(Ordering::Relaxed)
}

#[test]
fn a_mount_covers_a_directory_until_it_is_taken_away() {
    let world = World::new();
    world.tree(&["/m/", "/m/below"]);
    let fs = mount(&world, "/m", MountFlags::empty());
    assert_eq!(errno(world.stat("/m/below")), Errno::ENOENT);
    world.tree(&["/m/above", "/m/d/"]);
    assert_ne!(world.stat("/m").unwrap().attr.dev, world.stat("/").unwrap().attr.dev);
    assert!(world.stat("/m").unwrap().is_mount_root);
    assert_eq!(world.stat("/m/d/../..").unwrap().attr.dev, 1);
    umount(&world, "/m").unwrap();
    assert_eq!(unmounted(&fs), 1);
    assert!(world.stat("/m/below").is_ok());
    assert_eq!(errno(world.stat("/m/above")), Errno::ENOENT);
    assert_eq!(errno(umount(&world, "/m")), Errno::EINVAL);
}

#[test]
fn mounts_stack_and_nest() {
    let world = World::new();
    world.tree(&["/m/"]);
    let first = mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/one/"]);
    let second = mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/two/"]);
    let nested = mount(&world, "/m/two", MountFlags::empty());
    world.tree(&["/m/two/deep"]);
    assert_eq!(errno(world.stat("/m/one")), Errno::ENOENT);
    assert_eq!(errno(umount(&world, "/m")), Errno::EBUSY, "another mount is in it");
    umount(&world, "/m/two").unwrap();
    umount(&world, "/m").unwrap();
    assert!(world.stat("/m/one").is_ok());
    umount(&world, "/m").unwrap();
    assert_eq!([&first, &second, &nested].map(|fs| unmounted(fs)), [1, 1, 1]);
}

#[test]
fn a_mount_in_use_is_busy() {
    let world = World::new();
    world.tree(&["/m/"]);
    let fs = mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/f", "/m/d/"]);
    let fd = world.open(&world.root, "/m/f", OpenFlags::O_RDONLY).unwrap();
    assert_eq!(errno(umount(&world, "/m")), Errno::EBUSY);
    world.root.files.close(fd).unwrap();
    let task = world.root.fork(2);
    world.ns.chdir(&task, b"/m/d").unwrap();
    assert_eq!(errno(umount(&world, "/m")), Errno::EBUSY);
    world.ns.chdir(&task, b"/").unwrap();
    umount(&world, "/m").unwrap();
    assert_eq!(unmounted(&fs), 1);
}

#[test]
fn a_detached_mount_lives_as_long_as_its_last_user() {
    let world = World::new();
    world.tree(&["/m/"]);
    let fs = mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/d/", "/m/d/f"]);
    let inner = mount(&world, "/m/d", MountFlags::empty());
    let task = world.root.fork(2);
    world.ns.chdir(&task, b"/m").unwrap();
    world.ns.umount(&world.root, b"/m", UmountFlags::MNT_DETACH).unwrap();
    assert_eq!(errno(world.stat("/m/d")), Errno::ENOENT);
    assert_eq!((unmounted(&fs), unmounted(&inner)), (0, 1));
    assert!(world.stat_as(&task, "d/f").is_ok());
    assert_eq!(world.getcwd(&task).unwrap(), "(unreachable)/");
    world.ns.chdir(&task, b"/").unwrap();
    world.ns.reap();
    assert_eq!(unmounted(&fs), 1);
}

#[test]
fn a_pinned_filesystem_outlives_its_mount() {
    let world = World::new();
    world.tree(&["/m/"]);
    let fs = mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/d/"]);
    let pin = world.ns.resolve(&world.root, AT_FDCWD, b"/m/d").unwrap().pin();
    umount(&world, "/m").unwrap();
    assert_eq!(unmounted(&fs), 0);
    drop(pin);
    world.ns.reap();
    assert_eq!(unmounted(&fs), 1);
}

#[test]
fn an_expiring_mount_goes_when_it_was_left_alone() {
    let world = World::new();
    world.tree(&["/m/"]);
    mount(&world, "/m", MountFlags::empty());
    let expire = || world.ns.umount(&world.root, b"/m", UmountFlags::MNT_EXPIRE);
    assert_eq!(errno(expire()), Errno::EAGAIN);
    assert!(world.stat("/m/..").is_ok());
    assert_eq!(errno(expire()), Errno::EAGAIN, "it was used since");
    assert!(expire().is_ok());
}

#[test]
fn a_remount_to_read_only_syncs_what_was_changed() {
    let world = World::new();
    world.tree(&["/m/"]);
    let fs = mount(&world, "/m", MountFlags::empty());
    let synced = || fs.synced.load(Ordering::Relaxed);
    let remount = |flags| world.ns.mount(&world.root, b"", b"/m", b"", MountFlags::MS_REMOUNT | flags, b"").unwrap();
    remount(MountFlags::MS_NODEV);
    assert_eq!(synced(), 0);
    remount(MountFlags::MS_RDONLY);
    assert_eq!(synced(), 1);
    assert_eq!(errno(world.mkdir(&world.root, "/m/d")), Errno::EROFS);
    remount(MountFlags::empty());
    assert_eq!(synced(), 1);
    world.mkdir(&world.root, "/m/d").unwrap();
}

#[test]
fn changes_are_durable_at_once_where_the_mount_says_so() {
    let world = World::new();
    for (flags, entries, inodes) in
        [(MountFlags::empty(), 0, 0), (MountFlags::MS_DIRSYNC, 1, 0), (MountFlags::MS_SYNCHRONOUS, 1, 1)]
    {
        let (fs, calls) = FaultFs::new(ramfs(NEXT_DEV.fetch_add(1, Ordering::Relaxed)));
        world.tree(&["/m/"]);
        let at = world.ns.resolve(&world.root, AT_FDCWD, b"/m").unwrap();
        world.ns.mount_at(&at, fs, b"counted", flags).unwrap();
        drop(at);
        let syncs = |change: &dyn Fn()| {
            calls.reset();
            change();
            calls.count(Calls::SYNC)
        };
        let (ns, root) = (&world.ns, &world.root);
        assert_eq!(syncs(&|| world.mkdir(root, "/m/d").unwrap()), entries);
        let create = OpenFlags::O_WRONLY | OpenFlags::O_CREAT;
        assert_eq!(syncs(&|| root.files.close(world.open(root, "/m/f", create).unwrap()).unwrap()), entries);
        let rename = || ns.renameat2(root, AT_FDCWD, b"/m/f", AT_FDCWD, b"/m/d/g", RenameFlags::empty()).unwrap();
        assert_eq!(syncs(&rename), 2 * entries);
        let chmod = || ns.fchmodat(root, AT_FDCWD, b"/m/d/g", 0o600, AtFlags::empty()).unwrap();
        assert_eq!(syncs(&chmod), inodes);
        assert_eq!(syncs(&|| ns.truncate(root, b"/m/d/g", 9).unwrap()), inodes);
        assert_eq!(syncs(&|| world.unlink(root, "/m/d/g").unwrap()), entries);
        umount(&world, "/m").unwrap();
        world.rmdir(root, "/m").unwrap();
    }
}

#[test]
fn a_place_knows_what_it_is_below_on_its_filesystem() {
    let world = World::new();
    world.tree(&["/a/", "/a/b/", "/a/b/c/", "/other/"]);
    let at = |path: &[u8]| world.ns.resolve(&world.root, AT_FDCWD, path).unwrap();
    let below = |path, above| at(path).is_below(|object| object == at(above).object().unwrap()).unwrap();
    assert!(below(b"/a/b/c", b"/a") && below(b"/a", b"/"));
    assert!(!below(b"/a", b"/a") && !below(b"/a", b"/a/b") && !below(b"/other", b"/a"));
}

#[test]
fn a_remount_without_a_word_on_access_times_keeps_them() {
    let world = World::new();
    world.tree(&["/m/"]);
    mount(&world, "/m", MountFlags::MS_NOATIME);
    let remount = |flags| world.ns.mount(&world.root, b"", b"/m", b"", MountFlags::MS_REMOUNT | flags, b"").unwrap();
    let flags = || world.ns.resolve(&world.root, AT_FDCWD, b"/m").unwrap().mount_flags();
    remount(MountFlags::MS_NODEV);
    assert_eq!(flags(), MountFlags::MS_NOATIME | MountFlags::MS_NODEV);
    remount(MountFlags::MS_RELATIME);
    assert_eq!(flags(), MountFlags::MS_RELATIME);
}

#[test]
fn a_read_only_mount_refuses_every_change() {
    let world = World::new();
    world.tree(&["/m/"]);
    mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/d/", "/m/f", "/m/l -> ../elsewhere", "/elsewhere"]);
    world.ns.mknodat(&world.root, AT_FDCWD, b"/m/device", 0o020_666, 0x0103).unwrap();
    let root = &world.root;
    let remount = || world.ns.mount(root, b"", b"/m", b"", MountFlags::MS_REMOUNT | MountFlags::MS_RDONLY, b"");
    let writer = world.open(root, "/m/f", OpenFlags::O_WRONLY).unwrap();
    assert_eq!(errno(remount()), Errno::EBUSY);
    root.files.close(writer).unwrap();
    remount().unwrap();
    let refused: Vec<Result<()>> = vec![
        world.mkdir(root, "/m/x"),
        world.unlink(root, "/m/f"),
        world.rmdir(root, "/m/d"),
        world.rename(root, "/m/f", "/m/g"),
        world.link(root, "/m/f", "/m/g"),
        world.chmod(root, "/m/f", 0o600),
        world.chown(root, "/m/f", Some(1), None),
        world.ns.utimensat(root, AT_FDCWD, Some(b"/m/f"), None, AtFlags::empty()),
        world.ns.truncate(root, b"/m/f", 0),
        world.ns.faccessat(root, AT_FDCWD, b"/m/f", 2, AtFlags::empty()),
        world.open(root, "/m/f", OpenFlags::O_WRONLY).map(drop),
        world.open(root, "/m/f", OpenFlags::O_RDONLY | OpenFlags::O_TRUNC).map(drop),
        world.open(root, "/m/x", OpenFlags::O_RDONLY | OpenFlags::O_CREAT).map(drop),
    ];
    for (at, result) in refused.into_iter().enumerate() {
        assert_eq!(errno(result), Errno::EROFS, "call {at}");
    }
    assert_eq!(errno(world.mkdir(root, "/m/d")), Errno::EEXIST, "what is there is told first");
    assert!(world.open(root, "/m/f", OpenFlags::O_RDONLY | OpenFlags::O_CREAT).is_ok());
    // What lies elsewhere is not read-only.
    let through = OpenFlags::O_WRONLY | OpenFlags::O_CREAT | OpenFlags::O_TRUNC;
    assert!(world.open(root, "/m/l", through).is_ok());
    assert_eq!(errno(world.open(root, "/m/device", OpenFlags::O_RDWR)), Errno::ENXIO, "for want of a driver");
    world.ns.mount(root, b"", b"/m", b"", MountFlags::MS_REMOUNT, b"").unwrap();
    assert!(world.mkdir(root, "/m/x").is_ok());
}

#[test]
fn flags_of_a_mount_limit_what_is_done_through_it() {
    let world = World::new();
    world.tree(&["/m/"]);
    let flags = MountFlags::MS_NODEV | MountFlags::MS_NOEXEC | MountFlags::MS_NOSYMFOLLOW;
    mount(&world, "/m", flags);
    world.tree(&["/m/f", "/m/l -> f"]);
    world.ns.mknodat(&world.root, AT_FDCWD, b"/m/null", 0o020_666, 0x0103).unwrap();
    world.chmod(&world.root, "/m/f", 0o755).unwrap();
    assert_eq!(errno(world.open(&world.root, "/m/null", OpenFlags::O_RDONLY)), Errno::EACCES);
    assert_eq!(errno(world.ns.open_exec(&world.root, AT_FDCWD, b"/m/f", AtFlags::empty())), Errno::EACCES);
    assert_eq!(errno(world.ns.faccessat(&world.root, AT_FDCWD, b"/m/f", 1, AtFlags::empty())), Errno::EACCES);
    assert_eq!(errno(world.stat("/m/l")), Errno::ELOOP);
    assert!(world.lstat("/m/l").is_ok());
}

#[test]
fn nothing_is_linked_or_renamed_across_mounts() {
    let world = World::new();
    world.tree(&["/m/", "/f"]);
    mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/g"]);
    assert_eq!(errno(world.link(&world.root, "/f", "/m/f")), Errno::EXDEV);
    assert_eq!(errno(world.rename(&world.root, "/f", "/m/f")), Errno::EXDEV);
    assert_eq!(errno(world.link(&world.root, "/f", "/m/g")), Errno::EEXIST);
}

#[test]
fn what_is_mounted_on_stays() {
    let world = World::new();
    world.tree(&["/m/", "/d/", "/top/", "/top/n/"]);
    mount(&world, "/m", MountFlags::empty());
    mount(&world, "/top/n", MountFlags::empty());
    assert_eq!(errno(world.rmdir(&world.root, "/m")), Errno::EBUSY);
    assert_eq!(errno(world.rename(&world.root, "/m", "/x")), Errno::EBUSY);
    assert_eq!(errno(world.rename(&world.root, "/d", "/m")), Errno::EBUSY);
    let exchange = RenameFlags::RENAME_EXCHANGE;
    assert_eq!(errno(world.rename_how(&world.root, "/d", "/m", exchange)), Errno::EBUSY);
    world.rename(&world.root, "/top", "/moved").unwrap();
    assert!(world.stat("/moved/n").unwrap().is_mount_root, "a directory above may move");
    let task = world.root.fork(2);
    world.ns.chdir(&task, b"/moved/n").unwrap();
    assert_eq!(world.getcwd(&task).unwrap(), "/moved/n");
}

#[test]
fn resolution_can_be_told_to_stay_on_its_mount() {
    let world = World::new();
    world.tree(&["/m/", "/abs -> /f", "/f"]);
    mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/f", "/m/back -> /f"]);
    let no_xdev = ResolveFlags::RESOLVE_NO_XDEV;
    let open = |path| world.open2(&world.root, path, OpenFlags::O_RDONLY, no_xdev);
    assert!(open("/f").is_ok());
    assert!(open("/abs").is_ok());
    assert_eq!(errno(open("/m")), Errno::EXDEV);
    assert_eq!(errno(open("/m/f")), Errno::EXDEV);
    let task = world.root.fork(2);
    world.ns.chdir(&task, b"/m").unwrap();
    let open = |path| world.open2(&task, path, OpenFlags::O_RDONLY, no_xdev);
    assert!(open("f").is_ok());
    assert_eq!(errno(open("../f")), Errno::EXDEV);
    assert_eq!(errno(open("back")), Errno::EXDEV);
}

#[test]
fn one_filesystem_at_two_places_is_one_filesystem() {
    let world = World::new();
    world.tree(&["/a/", "/b/", "/c/", "/file"]);
    let fs = watched();
    for path in [&b"/a"[..], b"/b"] {
        let at = world.ns.resolve(&world.root, AT_FDCWD, path).unwrap();
        world.ns.mount_at(&at, fs.clone(), b"watched", MountFlags::empty()).unwrap();
    }
    let again = world.ns.resolve(&world.root, AT_FDCWD, b"/a").unwrap();
    assert_eq!(errno(world.ns.mount_at(&again, fs.clone(), b"", MountFlags::empty())), Errno::EBUSY);
    drop(again);
    world.tree(&["/a/d/", "/a/d/f"]);
    assert_eq!(world.ino("/b/d/f"), world.ino("/a/d/f"));
    world.unlink(&world.root, "/b/d/f").unwrap();
    assert_eq!(errno(world.stat("/a/d/f")), Errno::ENOENT);
    world.tree(&["/a/d/g"]);
    let bind = |from: &[u8], to: &[u8]| world.ns.mount(&world.root, from, to, b"", MountFlags::MS_BIND, b"");
    bind(b"/a/d", b"/c").unwrap();
    assert!(world.stat("/c/g").is_ok());
    assert_eq!(world.stat("/c/..").unwrap().attr.ino, world.ino("/"));
    assert_eq!(errno(bind(b"/file", b"/c")), Errno::ENOTDIR);
    for path in ["/a", "/b", "/c"] {
        assert_eq!(unmounted(&fs), 0);
        umount(&world, path).unwrap();
    }
    assert_eq!(unmounted(&fs), 1);
}

struct Types;

impl FileSystemTypes for Types {
    fn open(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>> {
        match request.fs_type {
            b"tmpfs" => Ok(ramfs(NEXT_DEV.fetch_add(1, Ordering::Relaxed))),
            b"path" => {
                // A type whose source is a path looks it up through the request.
                request.namespace.resolve(request.context, AT_FDCWD, request.source)?;
                Ok(watched())
            }
            _ => Err(Errno::ENODEV.into()),
        }
    }
}

#[test]
fn mount_goes_through_the_registered_types() {
    let world = World::new();
    world.tree(&["/m/", "/f", "/n/"]);
    let none = MountFlags::empty();
    let mount =
        |target: &[u8], source: &[u8], kind: &[u8]| world.ns.mount(&world.root, source, target, kind, none, b"");
    assert_eq!(errno(mount(b"/m", b"x", b"tmpfs")), Errno::ENODEV);
    world.ns.set_file_system_types(Arc::new(Types));
    assert_eq!(errno(mount(b"/m", b"x", b"other")), Errno::ENODEV);
    assert_eq!(errno(mount(b"/none", b"x", b"tmpfs")), Errno::ENOENT);
    assert_eq!(errno(mount(b"/f", b"x", b"tmpfs")), Errno::ENOTDIR);
    assert_eq!(errno(mount(b"/m", b"/none", b"path")), Errno::ENOENT);
    assert_eq!(errno(world.ns.mount(&world.user(1), b"x", b"/m", b"tmpfs", none, b"")), Errno::EPERM);
    mount(b"/m", b"some source", b"tmpfs").unwrap();
    mount(b"/n", b"/f", b"path").unwrap();
    let lines: Vec<String> = world
        .ns
        .mounts(&world.root)
        .iter()
        .map(|entry| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("{} {} {} {}", text(&entry.source), text(&entry.target), entry.fs_type, text(&entry.options()))
        })
        .collect();
    assert_eq!(lines, ["none / tmpfs rw,relatime", "some source /m tmpfs rw,relatime", "/f /n watched rw,relatime"]);
    assert_eq!(errno(world.ns.umount(&world.user(1), b"/m", UmountFlags::empty())), Errno::EPERM);
    assert_eq!(errno(umount(&world, "/")), Errno::EBUSY);
}

#[test]
fn everything_is_unmounted_at_the_end() {
    let world = World::new();
    world.tree(&["/m/"]);
    let outer = mount(&world, "/m", MountFlags::empty());
    world.tree(&["/m/n/"]);
    let inner = mount(&world, "/m/n", MountFlags::empty());
    world.tree(&["/m/n/f"]);
    let _busy = world.open(&world.root, "/m/n/f", OpenFlags::O_RDONLY).unwrap();
    world.ns.unmount_all().unwrap();
    assert_eq!((unmounted(&outer), unmounted(&inner)), (1, 1));
}
