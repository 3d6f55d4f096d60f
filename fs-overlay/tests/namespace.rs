//! The overlay below the namespace, whose cache must not take two objects for one.

mod support;

use std::sync::Arc;

use contract::fault::{Calls, FaultFs};
use support::{Tree, overlay, ram};
use vfs::{AT_FDCWD, At, AtFlags, Context, Credentials, FileSystem, Namespace, NamespaceOptions, OpenFlags, OpenHow};

struct World {
    ns: Arc<Namespace>,
    root: Context,
}

impl World {
    /// Over a lower layer where `d/a` and `d/b` are names of one file.
    fn new() -> Self {
        let lower = ram();
        let tree = Tree::of(&*lower);
        tree.mkdir("d").unwrap();
        tree.put("d/a", "old").unwrap();
        tree.link("d/a", "d/b").unwrap();
        let (upper, lower): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (ram(), lower);
        let fs = overlay(&upper, &[lower]);
        let ns = Namespace::new(fs, b"overlay", NamespaceOptions::default());
        let root = ns.context(Credentials::root(), 1);
        Self { ns, root }
    }

    fn ino(&self, path: &str) -> u64 {
        self.ns.statat(&self.root, AT_FDCWD, path.as_bytes(), AtFlags::empty()).unwrap().attr.ino
    }

    fn write(&self, path: &str, content: &str) {
        let how = OpenHow::from_open(OpenFlags::O_WRONLY | OpenFlags::O_TRUNC, 0);
        let file = self.ns.open(&self.root, AT_FDCWD, path.as_bytes(), &how).unwrap();
        assert_eq!(file.write(&self.root, At::Position, content.as_bytes()).unwrap(), content.len());
    }

    fn read(&self, path: &str) -> String {
        let file = self.ns.open_path(&self.root, path.as_bytes(), OpenFlags::O_RDONLY).unwrap();
        let mut content = vec![0; 64];
        let len = file.read(At::Position, &mut content).unwrap();
        String::from_utf8(content[..len].to_vec()).unwrap()
    }
}

#[test]
fn a_write_reaches_the_name_that_was_opened() {
    let world = World::new();
    assert_eq!(world.ino("/d/a"), world.ino("/d/b"));
    world.write("/d/b", "new");
    assert_eq!(world.read("/d/b"), "new");
    world.ns.shrink_cache();
    assert_eq!(world.read("/d/b"), "new");
}

#[test]
fn a_lower_file_that_is_cut_is_copied_as_far_as_it_stays() {
    let (lower, upper) = (ram(), ram());
    let tree = Tree::of(&*lower);
    tree.put("f", "").unwrap();
    tree.file("f").unwrap().write_at(0, &[b'x'; 100_000]).unwrap();
    let (lower, reads) = FaultFs::new(lower);
    let (upper, writes) = FaultFs::new(upper);
    let (upper, lower): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (upper, lower);
    let ns = Namespace::new(overlay(&upper, &[lower]), b"overlay", NamespaceOptions::default());
    let root = ns.context(Credentials::root(), 1);
    ns.truncate(&root, b"/f", 0).unwrap();
    assert_eq!(reads.count(Calls::READ) + writes.count(Calls::WRITE), 0);
    assert_eq!(ns.statat(&root, AT_FDCWD, b"/f", AtFlags::empty()).unwrap().attr.size, 0);
}

#[test]
fn a_name_that_is_removed_takes_no_other_with_it() {
    let world = World::new();
    assert_eq!(world.ino("/d/a"), world.ino("/d/b"));
    world.ns.unlinkat(&world.root, AT_FDCWD, b"/d/a", AtFlags::empty()).unwrap();
    world.write("/d/b", "new");
    world.ns.shrink_cache();
    assert_eq!(world.read("/d/b"), "new");
    let nlink = world.ns.statat(&world.root, AT_FDCWD, b"/d/b", AtFlags::empty()).unwrap().attr.nlink;
    assert_eq!(nlink, 1);
}
