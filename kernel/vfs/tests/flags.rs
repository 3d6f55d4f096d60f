//! Inode flags beyond what the comparison with Linux reaches: who may set them, through which calls, and what they make durable.

mod common;

use std::cell::RefCell;

use common::{Argument, World, errno, ioctl_flags};
use vfs::{
    At, Capabilities, Context, Errno, InodeFlags, Mapping, MountFlags, NamespaceOptions, OpenFile, OpenFlags, RwFlags,
};

const A: u32 = InodeFlags::APPEND.bits();
const I: u32 = InodeFlags::IMMUTABLE.bits();
const GETFLAGS: u32 = 0x8008_6601;
const FSGETXATTR: u32 = 0x801c_581f;
const FSSETXATTR: u32 = 0x401c_5820;

fn open(world: &World, ctx: &Context, path: &str, flags: OpenFlags) -> std::sync::Arc<OpenFile> {
    world.ns.open_path(ctx, path.as_bytes(), flags).unwrap()
}

fn set(world: &World, path: &str, flags: u32) {
    let file = open(world, &world.root, path, OpenFlags::O_RDONLY);
    ioctl_flags(&world.root, &file, Some(flags)).unwrap();
}

#[test]
fn only_who_may_protect_can_protect_or_take_protection_away() {
    let world = World::new();
    world.tree(&["/f"]);
    world.chown(&world.root, "/f", Some(1000), None).unwrap();
    let (owner, other) = (world.user(1000), world.user(2000));
    let file = open(&world, &owner, "/f", OpenFlags::O_RDONLY);
    let nodump = InodeFlags::NODUMP.bits();
    ioctl_flags(&owner, &file, Some(nodump)).unwrap();
    assert_eq!(errno(ioctl_flags(&owner, &file, Some(nodump | A))), Errno::EPERM);
    assert_eq!(errno(ioctl_flags(&other, &file, Some(0))), Errno::EPERM, "not the owner's");
    ioctl_flags(&world.root, &file, Some(nodump | A)).unwrap();
    assert_eq!(errno(ioctl_flags(&owner, &file, Some(nodump))), Errno::EPERM);
    ioctl_flags(&owner, &file, Some(A)).unwrap();
    let mut weak = world.root.clone();
    let left = Capabilities::all() - Capabilities::CAP_LINUX_IMMUTABLE;
    weak.credentials.set_capabilities(left, left).unwrap();
    assert_eq!(errno(ioctl_flags(&weak, &file, Some(0))), Errno::EPERM);
    assert_eq!(ioctl_flags(&weak, &file, None).unwrap(), A);
}

#[test]
fn both_ioctls_tell_and_take_the_same_flags() {
    let world = World::new();
    world.tree(&["/f", "/d/"]);
    for path in ["/f", "/d"] {
        let file = open(&world, &world.root, path, OpenFlags::O_RDONLY);
        ioctl_flags(&world.root, &file, Some(I | InodeFlags::NOATIME.bits())).unwrap();
        let argument = Argument(RefCell::new(vec![0xff; 28]));
        file.ioctl(&world.root, FSGETXATTR, 1, &argument).unwrap();
        let mut expected = vec![0; 28];
        expected[0] = 0x48;
        assert_eq!(*argument.0.borrow(), expected);
        argument.0.borrow_mut()[0] = 0x90;
        file.ioctl(&world.root, FSSETXATTR, 1, &argument).unwrap();
        assert_eq!(ioctl_flags(&world.root, &file, None).unwrap(), A | InodeFlags::NODUMP.bits());
        for (at, value) in [(0, 1), (4, 1), (12, 1)] {
            let mut bytes = vec![0; 28];
            bytes[at] = value;
            let refused = file.ioctl(&world.root, FSSETXATTR, 1, &Argument(RefCell::new(bytes)));
            assert_eq!(errno(refused), Errno::EOPNOTSUPP, "byte {at}");
        }
        for command in [GETFLAGS, 0x4008_6602, FSGETXATTR, FSSETXATTR] {
            let nowhere = Argument(RefCell::new(Vec::new()));
            assert_eq!(errno(file.ioctl(&world.root, command, 0, &nowhere)), Errno::EFAULT);
        }
    }
}

#[test]
fn what_has_no_flags_knows_no_such_call() {
    let world = World::new();
    let (read, _) = world.ns.pipe2(&world.root, OpenFlags::empty()).unwrap();
    let pipe = world.root.file(read).unwrap();
    assert_eq!(errno(ioctl_flags(&world.root, &pipe, None)), Errno::ENOTTY);
    world.tree(&["/f"]);
    let path = open(&world, &world.root, "/f", OpenFlags::O_PATH);
    assert_eq!(errno(ioctl_flags(&world.root, &path, None)), Errno::EBADF);
}

#[test]
fn flags_do_not_change_on_a_read_only_mount() {
    let options = NamespaceOptions { root_flags: MountFlags::MS_RDONLY, ..NamespaceOptions::default() };
    let world = World::with(options);
    let root = open(&world, &world.root, "/", OpenFlags::O_RDONLY);
    assert_eq!(errno(ioctl_flags(&world.root, &root, Some(A))), Errno::EROFS);
}

#[test]
fn what_became_immutable_takes_nothing_through_descriptors_that_are_open() {
    let world = World::new();
    world.tree(&["/f"]);
    let file = open(&world, &world.root, "/f", OpenFlags::O_RDWR);
    set(&world, "/f", I);
    assert_eq!(errno(file.write(&world.root, At::Position, b"x")), Errno::EPERM);
    assert_eq!(errno(file.truncate(&world.root, 0)), Errno::EPERM);
    assert_eq!(errno(file.allocate(&world.root, vfs::FallocateFlags::empty(), 0, 9)), Errno::EPERM);
    assert_eq!(world.read("/f").unwrap(), "/f");
    set(&world, "/f", 0);
    assert_eq!(file.write(&world.root, At::Position, b"x").unwrap(), 1);
}

#[test]
fn an_append_only_file_is_only_appended_to() {
    let world = World::new();
    world.tree(&["/f"]);
    set(&world, "/f", A);
    let file = open(&world, &world.root, "/f", OpenFlags::O_RDWR | OpenFlags::O_APPEND);
    assert_eq!(file.write(&world.root, At::Offset(0), b"!").unwrap(), 1);
    assert_eq!(world.read("/f").unwrap(), "/f!");
    let refused = file.write_vectored(&world.root, At::Offset(0), &[b"x"], RwFlags::RWF_NOAPPEND);
    assert_eq!(errno(refused), Errno::EPERM);
    let mapped = |want| file.mapping(want).map(drop);
    assert_eq!(errno(mapped(Mapping::SHARED)), Errno::EACCES, "it could be made writable later");
    assert!(mapped(Mapping::empty()).is_ok());
    assert_eq!(errno(world.ns.truncate(&world.root, b"/f", 0)), Errno::EPERM);
}

#[test]
fn an_access_list_of_a_protected_file_stays() {
    let world = World::new();
    world.tree(&["/f"]);
    set(&world, "/f", A);
    let list = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x06\0\xff\xff\xff\xff\x20\0\x06\0\xff\xff\xff\xff";
    let file = open(&world, &world.root, "/f", OpenFlags::O_RDONLY);
    let how = vfs::XattrFlags::empty();
    assert_eq!(errno(file.set_xattr(&world.root, vfs::acl::ACCESS, list, how)), Errno::EPERM);
    assert_eq!(errno(file.remove_xattr(&world.root, vfs::acl::ACCESS)), Errno::EPERM);
}
