//! What is ramfs's own: limits and their accounts, handles between filesystems, and its end.

use std::sync::Arc;

use contract::dsl::Dir;
use contract::{Features, Fixture, Mounted, Setup, TestClock};
use ramfs::{MAGIC, Options, RamFs};
use vfs::{Errno, FileSystem, FsContext, Name, NewKind, NewNode, Node, Victim, XattrMode};

fn context() -> FsContext {
    FsContext { dev: 9, clock: Arc::new(TestClock::default()) }
}

fn mount(options: Options) -> (Arc<RamFs>, Dir) {
    let fs = RamFs::new(context(), &options).unwrap();
    let root = Dir(fs.root());
    (fs, root)
}

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

#[test]
fn an_inode_limit_is_heeded_and_a_link_costs_an_inode() {
    let (fs, root) = mount(Options { inode_limit: Some(4), ..Options::default() });
    let free = || fs.statfs().unwrap().files_free;
    assert_eq!((fs.statfs().unwrap().files, free()), (4, 3));
    let a = root.file("a", "1").unwrap();
    root.mkdir("d").unwrap();
    root.link("b", &a.node()).unwrap();
    assert_eq!(free(), 0);
    assert_eq!(root.make("c", NewKind::File).unwrap_err(), Errno::ENOSPC);
    assert_eq!(root.link("c", &a.node()).unwrap_err(), Errno::ENOSPC);
    assert_eq!(root.create_unnamed(&NewNode::new(NewKind::File, 0)).unwrap_err(), Errno::ENOSPC);
    assert_eq!(root.as_upper().unwrap().whiteout(name("w"), Victim::Absent).unwrap_err(), Errno::ENOSPC);
    root.lists(&["a", "b", "d"]).unwrap();
    root.unlink("b").unwrap();
    assert_eq!(free(), 1);
    // The inode itself goes with its last user.
    root.unlink("a").unwrap();
    assert_eq!(free(), 1);
    drop(a);
    assert_eq!(free(), 2);
    root.make("c", NewKind::File).unwrap();
}

#[test]
fn the_link_limit_is_emlink() {
    let (_, root) = mount(Options { link_max: 4, ..Options::default() });
    let a = root.file("a", "1").unwrap().node();
    for other in ["b", "c", "d"] {
        root.link(other, &a).unwrap();
    }
    assert_eq!(root.link("e", &a).unwrap_err(), Errno::EMLINK);
    assert_eq!(a.attr().unwrap().nlink, 4);
    root.mkdir("one").unwrap();
    let two = root.mkdir("two").unwrap();
    assert_eq!(root.mkdir("three").unwrap_err(), Errno::EMLINK);
    let inner = two.mkdir("inner").unwrap();
    assert_eq!(two.mv_to("inner", &root, "inner").unwrap_err(), Errno::EMLINK);
    assert_eq!(root.swap("a", &two, "inner").unwrap_err(), Errno::EMLINK);
    let staged = root.as_upper().unwrap().stage(&NewNode::new(NewKind::Dir, 0)).unwrap();
    let how = vfs::Publish { over: vfs::Over::Nothing, parent: vfs::Parent::Touched, xattrs: &[] };
    assert_eq!(root.as_upper().unwrap().publish(name("s"), &staged, &how).unwrap_err(), Errno::EMLINK);
    // One that replaces another brings no link more.
    two.mv_to("inner", &root, "one").unwrap();
    assert_eq!(inner.attr().unwrap().nlink, 2);
    root.lists(&["a", "b", "c", "d", "one", "two"]).unwrap();
}

#[test]
fn whiteouts_share_an_inode_up_to_the_link_limit() {
    let (_, root) = mount(Options { link_max: 10, ..Options::default() });
    for number in 0..25 {
        root.as_upper().unwrap().whiteout(name(&number.to_string()), Victim::Absent).unwrap();
    }
    let mut inodes: Vec<_> = root.list().unwrap().into_iter().map(|entry| entry.ino).collect();
    inodes.sort();
    inodes.dedup();
    assert_eq!(inodes.len(), 3);
}

/// A filesystem with limits that the model does not reach.
struct Limited;

const LIMIT: u64 = 64 << 20;

impl Fixture for Limited {
    fn features(&self) -> Features {
        Features::COMPLETE
    }

    fn mount(&self, setup: &Setup<'_>) -> vfs::Result<Mounted> {
        let options = Options { size_limit: Some(LIMIT), inode_limit: Some(200_000), ..Options::default() };
        let fs = RamFs::new(setup.context.clone(), &options)?;
        contract::tree::build(&fs.root(), setup.tree)?;
        Ok(Mounted::new(fs))
    }

    /// Removes everything: not a byte and not an inode may be missing.
    fn examine(&self, mounted: Mounted) -> contract::Outcome {
        let Mounted { fs, base, .. } = mounted;
        let root = Dir(base);
        empty(&root)?;
        let stat = fs.statfs()?;
        contract::check_eq!((stat.blocks_free, stat.files_free), (stat.blocks, stat.files - 1), "what is free");
        Ok(())
    }
}

fn empty(dir: &Dir) -> contract::Outcome {
    for entry in dir.list()? {
        match dir.at(&entry.name)? {
            Node::Dir(below) => {
                empty(&Dir(below))?;
                dir.rmdir(&entry.name)?;
            }
            _ => dir.unlink(&entry.name)?,
        }
    }
    Ok(())
}

#[test]
fn every_byte_and_inode_is_given_back() {
    let report = contract::run_all(&Limited);
    report.verdict().unwrap();
    for seed in 0..4 {
        contract::model::run(&Limited, seed, 3_000).unwrap();
    }
}

#[test]
fn a_handle_of_another_filesystem_finds_nothing() {
    let ((one, one_root), (other, other_root)) = (mount(Options::default()), mount(Options::default()));
    let handle = one_root.file("f", "").unwrap().handle().unwrap();
    other_root.file("f", "").unwrap();
    assert!(one.node_by_handle(&handle).unwrap().is_some());
    assert!(other.node_by_handle(&handle).unwrap().is_none());
}

#[test]
fn a_filesystem_without_limits_tells_no_sizes() {
    let (fs, _) = mount(Options::default());
    let stat = fs.statfs().unwrap();
    assert_eq!((stat.magic, stat.blocks, stat.blocks_free, stat.files), (MAGIC, 0, 0, 0));
}

#[test]
fn the_root_has_the_attributes_of_the_options() {
    let options = Options { root_mode: 0o1777, root_uid: 5, root_gid: 6, uuid: [7; 16], ..Options::default() };
    let (fs, root) = mount(options);
    let attr = root.attr().unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.nlink, attr.dev), (0o1777, 5, 6, 2, 9));
    assert_eq!(fs.uuid(), [7; 16]);
}

#[test]
fn a_very_deep_tree_goes_without_a_deep_stack() {
    let small_stack = std::thread::Builder::new().stack_size(64 << 10);
    let work = || {
        let (fs, root) = mount(Options::default());
        let mut at = root;
        for _ in 0..100_000 {
            at = at.mkdir("d").unwrap();
        }
        drop(at);
        drop(fs);
    };
    small_stack.spawn(work).unwrap().join().unwrap();
}

#[test]
fn a_node_outlives_its_filesystem_while_it_is_held() {
    let (fs, root) = mount(Options::default());
    let f = root.mkdir("d").unwrap().file("f", "content").unwrap();
    drop((fs, root));
    f.holds("content").unwrap();
    f.put(0, "C").unwrap();
    f.set_xattr(b"user.x", b"1", XattrMode::Set).unwrap();
    f.holds("Content").unwrap();
}

#[test]
fn lists_of_xattr_names_end_at_64_kib() {
    let (_, root) = mount(Options::default());
    let f = root.file("f", "").unwrap();
    let mut set = 0;
    let refused = loop {
        let long = format!("user.{set:0>250}");
        match f.set_xattr(long.as_bytes(), b"", XattrMode::Set) {
            Ok(()) => set += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Errno::ENOSPC);
    assert_eq!(set, 65_536 / 256);
}

#[test]
fn a_symbolic_link_needs_a_target_that_can_be() {
    let (_, root) = mount(Options::default());
    assert_eq!(root.make("l", NewKind::Symlink(b"")).unwrap_err(), Errno::EINVAL);
    assert_eq!(root.make("l", NewKind::Symlink(b"a\0b")).unwrap_err(), Errno::EINVAL);
    assert_eq!(root.make("l", NewKind::Symlink(&[b'x'; 4096])).unwrap_err(), Errno::ENAMETOOLONG);
    root.lists(&[]).unwrap();
}

#[test]
fn a_staged_node_is_published_once() {
    let (_, root) = mount(Options::default());
    let upper = root.as_upper().unwrap();
    let how = vfs::Publish { over: vfs::Over::Nothing, parent: vfs::Parent::Touched, xattrs: &[] };
    for kind in [NewKind::File, NewKind::Dir] {
        let node = upper.stage(&NewNode::new(kind, 0o700)).unwrap();
        upper.publish(name("first"), &node, &how).unwrap();
        assert_eq!(upper.publish(name("second"), &node, &how).unwrap_err(), Errno::EINVAL);
        upper.remove_with_whiteouts(name("first")).or_else(|_| root.unlink("first")).unwrap();
        assert_eq!(upper.publish(name("second"), &node, &how).unwrap_err(), Errno::EINVAL);
    }
}

#[test]
fn a_directory_is_not_moved_into_itself() {
    let (_, root) = mount(Options::default());
    let d = root.mkdir("d").unwrap();
    d.file("f", "").unwrap();
    assert_eq!(root.mv_to("d", &d, "x").unwrap_err(), Errno::EINVAL);
    assert_eq!(root.swap("d", &d, "f").unwrap_err(), Errno::EINVAL);
    assert_eq!(d.swap("f", &root, "d").unwrap_err(), Errno::EINVAL);
    d.lists(&["f"]).unwrap();
}
