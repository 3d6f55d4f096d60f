//! Many tasks at once on the same names: nothing hangs, nothing is lost, and what the cache believes is what the filesystem has.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Random, World, ramfs, setting};
use vfs::{
    AT_FDCWD, At, AtFlags, Context, Errno, FileType, MountFlags, NamespaceOptions, OpenFlags, RenameFlags, UmountFlags,
    Whence,
};

fn path(random: &mut Random) -> String {
    let mut path = String::new();
    for _ in 0..=random.below(4) {
        path.push('/');
        path.push_str(random.pick(&["a", "b", "c", "d", "..", "l"]));
    }
    path
}

fn act(world: &World, task: &Context, random: &mut Random) {
    let (one, two) = (path(random), path(random));
    let result = match random.below(14) {
        0 | 1 => world.mkdir(task, &one),
        2 => world.rmdir(task, &one),
        3 => world.unlink(task, &one),
        4..=6 => world.rename(task, &one, &two),
        7 => world.rename_how(task, &one, &two, RenameFlags::RENAME_EXCHANGE),
        8 => world.link(task, &one, &two),
        9 => world.ns.symlinkat(task, two.as_bytes(), AT_FDCWD, one.as_bytes()),
        10 => {
            let flags = OpenFlags::O_CREAT | OpenFlags::O_RDWR | OpenFlags::O_APPEND;
            world.open(task, &one, flags).and_then(|fd| {
                task.file(fd)?.write(task, At::Position, b"x")?;
                task.files.close(fd)
            })
        }
        11 => world.ns.chdir(task, one.as_bytes()),
        12 => world.chmod(task, &one, 0o755),
        _ => world.stat_as(task, &one).map(drop),
    };
    // Whatever names are there or not: faults are none of the answers.
    if let Err(error) = result {
        let known = [
            Errno::ENOENT,
            Errno::EEXIST,
            Errno::ENOTDIR,
            Errno::EISDIR,
            Errno::ENOTEMPTY,
            Errno::EBUSY,
            Errno::EINVAL,
            Errno::ELOOP,
            Errno::EPERM,
            Errno::EXDEV,
        ];
        assert!(known.contains(&error.errno()), "{error}");
    }
}

/// Every path in the tree with its inode, found by listing.
fn tree(world: &World) -> BTreeSet<(String, u64, u8)> {
    let mut all = BTreeSet::new();
    let mut left = vec![String::new()];
    while let Some(dir) = left.pop() {
        let fd = world.ns.open_path(&world.root, format!("{dir}/").as_bytes(), OpenFlags::O_DIRECTORY).unwrap();
        let mut buf = vec![0; 65_536];
        fd.seek(0, Whence::Set).unwrap();
        let len = fd.read_dir(&mut buf).unwrap();
        let mut at = 0;
        while at < len {
            let record = usize::from(u16::from_ne_bytes([buf[at + 16], buf[at + 17]]));
            let ino = u64::from_ne_bytes(buf[at..at + 8].try_into().unwrap());
            let name = buf[at + 19..at + record].split(|&byte| byte == 0).next().unwrap();
            let name = String::from_utf8(name.to_vec()).unwrap();
            at += record;
            if name == "." || name == ".." {
                continue;
            }
            let path = format!("{dir}/{name}");
            let attr = world.lstat(&path).unwrap().attr;
            assert_eq!(attr.ino, ino, "{path} is not what the directory lists");
            all.insert((path.clone(), ino, attr.kind.d_type()));
            if attr.kind == FileType::Dir {
                left.push(path);
            }
        }
    }
    all
}

#[test]
fn random_changes_by_many_tasks_keep_cache_and_filesystem_one() {
    base::sync::set_relax(std::thread::yield_now);
    let rounds = setting("STRATA_OPS", 20_000) / 20_000;
    for round in 0..rounds.max(1) {
        let seed = setting("STRATA_SEED", 0x7a5c) + round;
        let world = World::with(NamespaceOptions { dentry_capacity: 24, ..NamespaceOptions::default() });
        world.tree(&["/a/", "/b/", "/a/c/", "/a/c/d/", "/l -> a/c"]);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let world = &world;
                scope.spawn(move || {
                    let task = world.root.fork(thread + 2);
                    let mut random = Random::new(seed * 16 + thread as u64);
                    for _ in 0..5000 {
                        act(world, &task, &mut random);
                        match world.getcwd(&task) {
                            Ok(cwd) => assert!(cwd.starts_with('/')),
                            Err(error) => {
                                assert_eq!(error, Errno::ENOENT);
                                world.ns.chdir(&task, b"/").unwrap();
                            }
                        }
                    }
                });
            }
        });
        let warm = tree(&world);
        world.ns.shrink_cache();
        assert!(warm == tree(&world), "seed {seed:#x}: the cache knew another tree");
    }
}

#[test]
fn one_of_many_creators_wins_and_one_of_many_removers() {
    base::sync::set_relax(std::thread::yield_now);
    let world = World::new();
    for round in 0..200 {
        let path = format!("/f{round}");
        let count = |act: &(dyn Fn(&Context) -> bool + Sync)| {
            std::thread::scope(|scope| {
                let tasks = (0..4).map(|pid| {
                    let task = world.root.fork(pid);
                    scope.spawn(move || act(&task))
                });
                let tasks: Vec<_> = tasks.collect();
                tasks.into_iter().map(|task| u32::from(task.join().unwrap())).sum::<u32>()
            })
        };
        let exclusive = OpenFlags::O_CREAT | OpenFlags::O_EXCL | OpenFlags::O_WRONLY;
        assert_eq!(count(&|task| world.open(task, &path, exclusive).is_ok()), 1);
        assert_eq!(count(&|task| world.rename(task, &path, &format!("{path}moved")).is_ok()), 1);
        assert_eq!(count(&|task| world.unlink(task, &format!("{path}moved")).is_ok()), 1);
        assert_eq!(count(&|task| world.mkdir(task, &path).is_ok()), 1);
        assert_eq!(count(&|task| world.rmdir(task, &path).is_ok()), 1);
    }
}

#[test]
fn mounting_and_unmounting_beside_walks_does_no_harm() {
    base::sync::set_relax(std::thread::yield_now);
    let world = World::new();
    world.tree(&["/m/", "/m/f"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for pid in 0..2 {
            let (world, done) = (&world, &done);
            scope.spawn(move || {
                let task = world.root.fork(pid);
                while !done.load(Ordering::Relaxed) {
                    // Below or above: one of the two files is always there.
                    let found = world.ns.statat(&task, AT_FDCWD, b"/m/f", AtFlags::empty());
                    assert!(found.is_ok(), "{found:?}");
                    let _ = world.stat_as(&task, "/m/../m/./f");
                }
            });
        }
        for round in 0..200 {
            let fs = ramfs(50 + round);
            // Filled before it is seen.
            let new = vfs::NewNode::new(vfs::NewKind::File, 0o644);
            let root = vfs::FileSystem::root(&*fs);
            root.create(vfs::Name::new(b"f").unwrap(), &new).unwrap();
            let at = world.ns.resolve(&world.root, AT_FDCWD, b"/m").unwrap();
            world.ns.mount_at(&at, fs, b"", MountFlags::empty()).unwrap();
            drop(at);
            while world.ns.umount(&world.root, b"/m", UmountFlags::empty()).is_err() {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
