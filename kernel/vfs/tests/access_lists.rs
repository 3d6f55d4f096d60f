//! POSIX access control lists: who gets in by them, how they and the mode go together, what is handed down.
//! The expectations were asked of Linux 6.18 on tmpfs.

mod common;

use common::{World, errno};
use vfs::acl::{ACCESS, Acl, DEFAULT, Entry, Tag};
use vfs::{AT_FDCWD, AtFlags, Context, Credentials, Errno, OpenFlags, OpenHow, Result, XattrFlags};

fn list(owner: u16, user: (u32, u16), group: u16, mask: u16, other: u16) -> Vec<u8> {
    let none = u32::MAX;
    let entries = [
        (Tag::UserObj, owner, none),
        (Tag::User, user.1, user.0),
        (Tag::GroupObj, group, none),
        (Tag::Mask, mask, none),
        (Tag::Other, other, none),
    ];
    value(&entries)
}

fn value(entries: &[(Tag, u16, u32)]) -> Vec<u8> {
    let entries = entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id }).collect();
    Acl::new(entries).unwrap().to_value().unwrap()
}

fn set(world: &World, ctx: &Context, path: &str, name: &[u8], value: &[u8]) -> Result<()> {
    world.ns.setxattrat(ctx, AT_FDCWD, path.as_bytes(), AtFlags::empty(), name, value, XattrFlags::empty())
}

fn get(world: &World, path: &str, name: &[u8]) -> Result<Vec<u8>> {
    world.ns.getxattrat(&world.root, AT_FDCWD, path.as_bytes(), AtFlags::empty(), name)
}

fn access(world: &World, ctx: &Context, path: &str, mode: u32) -> Result<()> {
    world.ns.faccessat(ctx, AT_FDCWD, path.as_bytes(), mode, AtFlags::empty())
}

fn mode(world: &World, path: &str) -> u16 {
    world.lstat(path).unwrap().attr.mode
}

#[test]
fn a_named_user_gets_what_the_list_grants_and_the_mask_leaves() {
    let world = World::new();
    world.tree(&["/f"]);
    world.chmod(&world.root, "/f", 0o600).unwrap();
    let user = world.user(1000);
    assert_eq!(errno(access(&world, &user, "/f", 4)), Errno::EACCES);
    set(&world, &world.root, "/f", ACCESS, &list(6, (1000, 6), 0, 6, 0)).unwrap();
    assert_eq!(mode(&world, "/f"), 0o660);
    assert!(access(&world, &user, "/f", 6).is_ok());
    assert_eq!(errno(access(&world, &world.user(1001), "/f", 4)), Errno::EACCES);
    world.chmod(&world.root, "/f", 0o640).unwrap();
    assert!(access(&world, &user, "/f", 4).is_ok());
    assert_eq!(errno(access(&world, &user, "/f", 2)), Errno::EACCES, "chmod sets the mask");
    assert_eq!(get(&world, "/f", ACCESS).unwrap(), list(6, (1000, 6), 0, 4, 0));
    world.ns.removexattrat(&world.root, AT_FDCWD, b"/f", AtFlags::empty(), ACCESS).unwrap();
    assert_eq!(errno(access(&world, &user, "/f", 4)), Errno::EACCES, "the list is gone");
    assert_eq!(mode(&world, "/f"), 0o640);
}

#[test]
fn a_group_without_rights_in_the_list_shuts_its_members_out() {
    let world = World::new();
    world.tree(&["/f"]);
    world.chmod(&world.root, "/f", 0o604).unwrap();
    let none = u32::MAX;
    let entries = [
        (Tag::UserObj, 6, none),
        (Tag::GroupObj, 4, none),
        (Tag::Group, 0, 50),
        (Tag::Mask, 4, none),
        (Tag::Other, 4, none),
    ];
    set(&world, &world.root, "/f", ACCESS, &value(&entries)).unwrap();
    let member = world.ns.context(Credentials::user(7, 7, &[50]), 2);
    assert_eq!(errno(access(&world, &member, "/f", 4)), Errno::EACCES);
    assert!(access(&world, &world.user(8), "/f", 4).is_ok());
}

#[test]
fn paths_are_searched_by_the_list() {
    let world = World::new();
    world.tree(&["/d/", "/d/e/", "/d/e/f"]);
    world.chmod(&world.root, "/d", 0o700).unwrap();
    let user = world.user(1000);
    assert_eq!(errno(world.open(&user, "/d/e/f", OpenFlags::O_RDONLY)), Errno::EACCES);
    set(&world, &world.root, "/d", ACCESS, &list(7, (1000, 1), 0, 1, 0)).unwrap();
    assert!(world.open(&user, "/d/e/f", OpenFlags::O_RDONLY).is_ok());
    assert_eq!(errno(world.open(&world.user(1001), "/d/e/f", OpenFlags::O_RDONLY)), Errno::EACCES);
    assert_eq!(errno(world.open(&user, "/d", OpenFlags::O_RDONLY)), Errno::EACCES, "search is all it grants");
}

#[test]
fn entries_are_made_and_removed_by_the_list() {
    let world = World::new();
    world.tree(&["/d/"]);
    set(&world, &world.root, "/d", ACCESS, &list(7, (1000, 3), 0, 3, 0)).unwrap();
    let user = world.user(1000);
    world.ns.mkdirat(&user, AT_FDCWD, b"/d/made", 0o755).unwrap();
    world.ns.unlinkat(&user, AT_FDCWD, b"/d/made", AtFlags::AT_REMOVEDIR).unwrap();
    assert_eq!(errno(world.ns.mkdirat(&world.user(1001), AT_FDCWD, b"/d/x", 0o755)), Errno::EACCES);
}

#[test]
fn a_list_that_says_no_more_than_the_mode_is_only_a_mode() {
    let world = World::new();
    world.tree(&["/f"]);
    let none = u32::MAX;
    let minimal = value(&[(Tag::UserObj, 7, none), (Tag::GroupObj, 5, none), (Tag::Other, 1, none)]);
    set(&world, &world.root, "/f", ACCESS, &list(6, (1000, 6), 0, 6, 0)).unwrap();
    set(&world, &world.root, "/f", ACCESS, &minimal).unwrap();
    assert_eq!(mode(&world, "/f"), 0o751);
    assert_eq!(errno(get(&world, "/f", ACCESS)), Errno::ENODATA);
}

#[test]
fn only_the_owner_sets_a_list_and_only_a_directory_hands_one_down() {
    let world = World::new();
    world.tree(&["/f"]);
    let full = list(6, (1000, 6), 0, 6, 0);
    assert_eq!(errno(set(&world, &world.user(1000), "/f", ACCESS, &full)), Errno::EPERM);
    assert_eq!(errno(set(&world, &world.root, "/f", DEFAULT, &full)), Errno::EACCES);
    assert_eq!(errno(set(&world, &world.root, "/f", ACCESS, b"\x01\0\0\0")), Errno::EOPNOTSUPP);
    assert_eq!(errno(set(&world, &world.root, "/f", ACCESS, &full[..20])), Errno::EINVAL);
    assert!(set(&world, &world.root, "/f", ACCESS, b"").is_ok(), "no list is no list");
    assert!(set(&world, &world.root, "/f", DEFAULT, b"\x02\0\0\0").is_ok());
    assert!(world.ns.removexattrat(&world.root, AT_FDCWD, b"/f", AtFlags::empty(), ACCESS).is_ok());
}

#[test]
fn what_is_made_in_a_directory_gets_its_default_list_whatever_the_umask() {
    let world = World::new();
    world.tree(&["/d/"]);
    let handed = list(7, (1000, 7), 5, 7, 0);
    set(&world, &world.root, "/d", DEFAULT, &handed).unwrap();
    world.root.fs.set_umask(0o077);
    world.ns.mkdirat(&world.root, AT_FDCWD, b"/d/sub", 0o777).unwrap();
    assert_eq!(mode(&world, "/d/sub"), 0o770);
    assert_eq!(get(&world, "/d/sub", DEFAULT).unwrap(), handed);
    assert_eq!(get(&world, "/d/sub", ACCESS).unwrap(), handed);
    let how = OpenHow::from_open(OpenFlags::O_CREAT | OpenFlags::O_WRONLY, 0o644);
    drop(world.ns.open(&world.root, AT_FDCWD, b"/d/file", &how).unwrap());
    assert_eq!(mode(&world, "/d/file"), 0o640);
    assert_eq!(get(&world, "/d/file", ACCESS).unwrap(), list(6, (1000, 7), 5, 4, 0));
    assert_eq!(errno(get(&world, "/d/file", DEFAULT)), Errno::ENODATA);
    let user = world.user(1000);
    world.chmod(&world.root, "/d", 0o755).unwrap();
    assert!(access(&world, &user, "/d/file", 4).is_ok());
    assert_eq!(errno(access(&world, &user, "/d/file", 2)), Errno::EACCES);
    world.ns.symlinkat(&world.root, b"x", AT_FDCWD, b"/d/link").unwrap();
    assert_eq!(mode(&world, "/d/link"), 0o777);
}

#[test]
fn the_owner_of_another_group_loses_the_set_group_id_bit_by_a_list() {
    let world = World::new();
    world.tree(&["/f"]);
    world.chown(&world.root, "/f", Some(1000), Some(60)).unwrap();
    world.chmod(&world.root, "/f", 0o2755).unwrap();
    set(&world, &world.user(1000), "/f", ACCESS, &list(7, (5, 5), 5, 5, 5)).unwrap();
    assert_eq!(mode(&world, "/f"), 0o755);
    world.chmod(&world.root, "/f", 0o2755).unwrap();
    set(&world, &world.root, "/f", ACCESS, &list(7, (5, 5), 5, 5, 5)).unwrap();
    assert_eq!(mode(&world, "/f"), 0o2755);
}

/// What setting each of some values answers, one word a value.
fn answers(world: &World, ctx: &Context, path: &str, name: &[u8], values: &[Vec<u8>]) -> String {
    let set = |value: &Vec<u8>| {
        let answer = world.ns.setxattrat(ctx, AT_FDCWD, path.as_bytes(), NOFOLLOW, name, value, XattrFlags::empty());
        answer.map_or_else(|error| format!("{:?}", error.errno()), |()| "0".into())
    };
    values.iter().map(set).collect::<Vec<_>>().join(" ")
}

const NOFOLLOW: AtFlags = AtFlags::AT_SYMLINK_NOFOLLOW;

#[test]
fn what_is_wrong_with_a_list_is_told_in_the_order_of_linux() {
    // Asked of Linux 6.18 on ext4, tmpfs and overlayfs, which agree.
    let none = u32::MAX;
    let raw = |version: u32, entries: &[(u16, u16, u32)]| {
        let mut value = version.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            value.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
            value.extend(id.to_le_bytes());
        }
        value
    };
    let (owner, group, others) = ((0x01, 7, none), (0x04, 5, none), (0x20, 5, none));
    let values = [
        raw(2, &[owner, group, others]),
        raw(2, &[]),
        Vec::new(),
        vec![1, 2],
        raw(3, &[owner, group, others]),
        [raw(2, &[owner, group, others]), vec![0]].concat(),
        raw(2, &[owner, (0x03, 7, none), group, others]),
        raw(2, &[owner, (0x02, 7, none), group, (0x10, 7, none), others]),
        raw(2, &[owner, (0x02, 7, 5), group, others]),
        raw(2, &[(0x01, 9, none), group, others]),
        raw(2, &[group, owner, others]),
    ];
    let broken = "EINVAL EOPNOTSUPP EINVAL EINVAL EINVAL";
    for is_root in [true, false] {
        let world = World::new();
        world.tree(&["/f", "/d/"]);
        world.ns.symlinkat(&world.root, b"f", AT_FDCWD, b"/l").unwrap();
        let ctx = if is_root { &world.root } else { &world.user(1000) };
        let lists = if is_root {
            format!("0 0 0 {broken} EINVAL EINVAL EINVAL")
        } else {
            format!("EPERM EPERM EPERM {broken} EPERM EPERM EPERM")
        };
        for (path, name) in [("/f", ACCESS), ("/d", ACCESS), ("/d", DEFAULT)] {
            assert_eq!(answers(&world, ctx, path, name, &values), lists, "{path}, root: {is_root}");
        }
        let of_a_file = format!("EACCES 0 0 {broken} EACCES EACCES EACCES");
        assert_eq!(answers(&world, ctx, "/f", DEFAULT, &values), of_a_file, "root: {is_root}");
        for name in [ACCESS, DEFAULT] {
            let of_a_link = format!("EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP {broken} EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP");
            assert_eq!(answers(&world, ctx, "/l", name, &values), of_a_link, "root: {is_root}");
            let get = world.ns.getxattrat(ctx, AT_FDCWD, b"/l", NOFOLLOW, name);
            assert_eq!(errno(get), Errno::EOPNOTSUPP);
            let remove = world.ns.removexattrat(ctx, AT_FDCWD, b"/l", NOFOLLOW, name);
            assert_eq!(errno(remove), Errno::EOPNOTSUPP);
        }
        let remove = |path: &str, name| {
            let answer = world.ns.removexattrat(ctx, AT_FDCWD, path.as_bytes(), NOFOLLOW, name);
            answer.map_err(|error| error.errno())
        };
        let owners = if is_root { Ok(()) } else { Err(Errno::EPERM) };
        assert_eq!(remove("/f", ACCESS), owners, "of a list that is not there");
        assert_eq!(remove("/d", DEFAULT), owners);
        assert_eq!(remove("/f", DEFAULT), Ok(()));
    }
}
