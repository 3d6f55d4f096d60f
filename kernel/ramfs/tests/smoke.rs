//! The first steps, by hand; the contract suite goes all the way.

use std::sync::Arc;

use ramfs::{Options, RamFs};
use vfs::{DirOps, Expect, FileSystem, FsContext, Name, NewKind, NewNode, RenameMode, RenameOp, Timestamp, Victim};

#[test]
fn a_file_is_made_written_renamed_and_removed() {
    let context = FsContext { dev: 7, clock: Arc::new(|| Timestamp::from_secs(1)) };
    let fs = RamFs::new(context, &Options::default()).unwrap();
    let root: Arc<dyn DirOps> = fs.root();
    let name = |text: &'static str| Name::new(text.as_bytes()).unwrap();
    let node = root.create(name("a"), &NewNode::new(NewKind::File, 0o644)).unwrap();
    let file = node.as_file().unwrap();
    assert_eq!(file.write_at(5000, b"hello").unwrap(), 5);
    let mut buf = [1; 8];
    assert_eq!(file.read_at(4997, &mut buf).unwrap(), 8);
    assert_eq!(&buf, b"\0\0\0hello");
    root.rename(&RenameOp { name: name("a"), to: &root, new_name: name("b"), mode: RenameMode::Replace }).unwrap();
    assert!(root.lookup(name("a")).unwrap().is_none());
    root.as_upper().unwrap().whiteout(name("b"), Victim::NonDir).unwrap();
    assert!(root.lookup(name("b")).unwrap().unwrap().attr().unwrap().is_whiteout());
    root.remove(name("b"), Expect::NonDir).unwrap();
    assert_eq!(file.read_at(4997, &mut buf).unwrap(), 8);
}
