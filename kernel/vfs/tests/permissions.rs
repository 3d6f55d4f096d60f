//! Who may do what, beyond what the comparison with Linux reaches.

mod common;

use common::{World, errno};
use vfs::{
    AT_FDCWD, At, AtFlags, Capabilities, Context, Credentials, Errno, NamespaceOptions, OpenFlags, Protection,
    Protections, Result, SetIdOnExec, TimeChange, Timestamp, XattrFlags,
};

fn mode(world: &World, path: &str) -> u16 {
    world.lstat(path).unwrap().attr.mode
}

fn access(world: &World, ctx: &Context, path: &str, mode: u32) -> Result<()> {
    world.ns.faccessat(ctx, AT_FDCWD, path.as_bytes(), mode, AtFlags::empty())
}

#[test]
fn the_first_class_that_fits_decides() {
    let world = World::new();
    world.tree(&["/f"]);
    world.chown(&world.root, "/f", Some(1000), Some(50)).unwrap();
    world.chmod(&world.root, "/f", 0o047).unwrap();
    let member = world.ns.context(Credentials::user(2000, 2000, &[50]), 2);
    assert_eq!(errno(access(&world, &world.user(1000), "/f", 4)), Errno::EACCES, "an owner is not of the others");
    assert!(access(&world, &member, "/f", 4).is_ok());
    assert_eq!(errno(access(&world, &member, "/f", 2)), Errno::EACCES, "nor is a member of the group");
    assert!(access(&world, &world.user(3000), "/f", 7).is_ok());
}

#[test]
fn root_reads_everything_and_executes_what_anyone_can() {
    let world = World::new();
    world.tree(&["/f", "/d/"]);
    world.chmod(&world.root, "/f", 0).unwrap();
    world.chmod(&world.root, "/d", 0).unwrap();
    assert!(access(&world, &world.root, "/f", 6).is_ok());
    assert_eq!(errno(access(&world, &world.root, "/f", 1)), Errno::EACCES);
    assert!(access(&world, &world.root, "/d", 7).is_ok());
    world.chmod(&world.root, "/f", 0o001).unwrap();
    assert!(access(&world, &world.root, "/f", 1).is_ok());
}

#[test]
fn access_asks_for_the_real_user_and_the_rest_for_the_effective_one() {
    let world = World::new();
    world.tree(&["/secret"]);
    world.chmod(&world.root, "/secret", 0o600).unwrap();
    let mut set_id = world.ns.context(Credentials::root(), 2);
    set_id.credentials.set_resuid([Some(1000), Some(0), Some(0)]).unwrap();
    assert_eq!(errno(access(&world, &set_id, "/secret", 4)), Errno::EACCES);
    assert!(world.ns.faccessat(&set_id, AT_FDCWD, b"/secret", 4, AtFlags::AT_EACCESS).is_ok());
    assert!(world.open(&set_id, "/secret", OpenFlags::O_RDONLY).is_ok());
}

#[test]
fn asking_for_the_file_system_id_changes_nothing() {
    let mut who = Credentials::root();
    assert_eq!((who.set_fsuid(u32::MAX), who.set_fsuid(u32::MAX)), (0, 0));
    assert_eq!((who.set_fsgid(u32::MAX), who.set_fsgid(u32::MAX)), (0, 0));
    assert!(who.capable(Capabilities::CAP_DAC_OVERRIDE));
}

#[test]
fn set_user_id_follows_linux() {
    let mut who = Credentials::root();
    who.set_resuid([None, Some(1000), None]).unwrap();
    assert!(who.effective().is_empty(), "capabilities go with the effective id");
    who.set_resuid([None, Some(0), None]).unwrap();
    assert_eq!(who.effective(), Capabilities::all(), "and come back");
    who.set_fsuid(1000);
    assert!(!who.capable(Capabilities::CAP_DAC_OVERRIDE) && who.capable(Capabilities::CAP_SYS_ADMIN));
    who.set_fsuid(0);
    who.set_uid(1000).unwrap();
    assert!(who.permitted().is_empty(), "all ids changed: there is no way back");
    assert_eq!(errno(who.set_uid(0)), Errno::EPERM);
    assert_eq!(errno(who.set_groups(&[1])), Errno::EPERM);
    assert_eq!(errno(who.set_reuid(Some(0), None)), Errno::EPERM);
    assert!(who.set_resuid([Some(1000), None, None]).is_ok());
    assert_eq!(who.set_fsuid(0), 1000);
    assert_eq!(who.uid().file_system, 1000);
}

#[test]
fn a_set_user_id_program_acts_for_its_owner_unless_the_mount_forbids() {
    let world = World::new();
    world.tree(&["/program"]);
    world.chmod(&world.root, "/program", 0o4755).unwrap();
    let attr = world.stat("/program").unwrap().attr;
    let user = Credentials::user(1000, 1000, &[]);
    let after = user.after_exec(&attr, SetIdOnExec::Honoured);
    assert_eq!((after.uid().real, after.uid().effective, after.uid().saved), (1000, 0, 0));
    assert!(after.capable(Capabilities::CAP_CHOWN));
    assert_eq!(user.after_exec(&attr, SetIdOnExec::Ignored).uid().effective, 1000);
}

#[test]
fn writing_takes_set_id_bits_away_from_all_but_root() {
    let world = World::new();
    let user = world.user(1000);
    type Change<'a> = &'a dyn Fn(&Context);
    let changes: [(&str, Change<'_>); 4] = [
        ("write", &|ctx| {
            let file = world.ns.open_path(ctx, b"/f", OpenFlags::O_WRONLY).unwrap();
            file.write(ctx, At::Position, b"x").unwrap();
        }),
        ("ftruncate", &|ctx| {
            world.ns.open_path(ctx, b"/f", OpenFlags::O_WRONLY).unwrap().truncate(ctx, 3).unwrap();
        }),
        ("truncate", &|ctx| world.ns.truncate(ctx, b"/f", 2).unwrap()),
        ("O_TRUNC", &|ctx| drop(world.ns.open_path(ctx, b"/f", OpenFlags::O_WRONLY | OpenFlags::O_TRUNC).unwrap())),
    ];
    for (name, change) in changes {
        let _ = world.unlink(&world.root, "/f");
        world.tree(&["/f"]);
        world.chmod(&world.root, "/f", 0o6777).unwrap();
        change(&world.root);
        assert_eq!(mode(&world, "/f"), 0o6777, "{name} by root");
        change(&user);
        assert_eq!(mode(&world, "/f"), 0o777, "{name}");
    }
}

#[test]
fn capabilities_of_a_file_go_with_its_content_and_its_owner() {
    const NAME: &[u8] = b"security.capability";
    let world = World::new();
    world.tree(&["/f"]);
    let (ns, root) = (&world.ns, &world.root);
    let set = || {
        ns.setxattrat(root, AT_FDCWD, b"/f", AtFlags::empty(), NAME, b"all", XattrFlags::empty()).unwrap();
    };
    let has = || ns.getxattrat(root, AT_FDCWD, b"/f", AtFlags::empty(), NAME).is_ok();
    let file = ns.open_path(root, b"/f", OpenFlags::O_RDWR).unwrap();
    set();
    ns.fchmodat(root, AT_FDCWD, b"/f", 0o755, AtFlags::empty()).unwrap();
    file.read(vfs::At::Position, &mut [0; 4]).unwrap();
    assert!(has());
    file.write(root, vfs::At::Position, b"x").unwrap();
    assert!(!has(), "written");
    file.write(root, vfs::At::Position, b"x").unwrap();
    set();
    file.write(root, vfs::At::Position, b"x").unwrap();
    assert!(!has(), "written after capabilities came to a file known to have none");
    set();
    ns.truncate(root, b"/f", 1).unwrap();
    assert!(!has(), "cut");
    set();
    ns.open_path(root, b"/f", OpenFlags::O_WRONLY | OpenFlags::O_TRUNC).unwrap();
    assert!(!has(), "cut at open");
    set();
    file.allocate(root, vfs::FallocateFlags::empty(), 0, 100).unwrap();
    assert!(!has(), "allocated");
    set();
    ns.fchownat(root, AT_FDCWD, b"/f", Some(1), None, AtFlags::empty()).unwrap();
    assert!(!has(), "given away");
}

#[test]
fn a_change_of_owner_takes_set_id_bits_away() {
    let world = World::new();
    world.tree(&["/f", "/d/"]);
    world.chmod(&world.root, "/f", 0o6755).unwrap();
    world.chmod(&world.root, "/d", 0o6755).unwrap();
    world.chown(&world.root, "/f", Some(1), None).unwrap();
    world.chown(&world.root, "/d", Some(1), None).unwrap();
    assert_eq!((mode(&world, "/f"), mode(&world, "/d")), (0o755, 0o6755));
}

#[test]
fn sticky_directories_keep_others_entries() {
    let world = World::new();
    world.tree(&["/tmp/"]);
    world.chmod(&world.root, "/tmp", 0o1777).unwrap();
    let (alice, bob) = (world.user(1000), world.user(2000));
    assert!(world.mkdir(&alice, "/tmp/a").is_ok());
    assert!(world.open(&alice, "/tmp/f", OpenFlags::O_CREAT | OpenFlags::O_WRONLY).is_ok());
    assert!(world.open(&bob, "/tmp/b", OpenFlags::O_CREAT | OpenFlags::O_WRONLY).is_ok());
    assert_eq!(errno(world.unlink(&bob, "/tmp/f")), Errno::EPERM);
    assert_eq!(errno(world.rmdir(&bob, "/tmp/a")), Errno::EPERM);
    assert_eq!(errno(world.rename(&bob, "/tmp/f", "/tmp/g")), Errno::EPERM);
    assert_eq!(errno(world.rename(&bob, "/tmp/b", "/tmp/f")), Errno::EPERM, "nor are they replaced");
    assert!(world.rename(&alice, "/tmp/f", "/tmp/g").is_ok());
    assert!(world.unlink(&world.root, "/tmp/g").is_ok());
}

#[test]
fn set_group_id_directories_pass_their_group_on() {
    let world = World::new();
    world.tree(&["/d/"]);
    world.chown(&world.root, "/d", None, Some(50)).unwrap();
    world.chmod(&world.root, "/d", 0o2777).unwrap();
    let user = world.user(1000);
    world.mkdir(&user, "/d/sub").unwrap();
    world.open(&user, "/d/f", OpenFlags::O_CREAT | OpenFlags::O_WRONLY).unwrap();
    let (sub, file) = (world.lstat("/d/sub").unwrap().attr, world.lstat("/d/f").unwrap().attr);
    assert_eq!((sub.gid, sub.mode), (50, 0o2777));
    assert_eq!((file.gid, file.mode), (50, 0o644));
}

#[test]
fn times_are_the_owners_and_now_is_a_writers() {
    let world = World::new();
    world.tree(&["/f"]);
    let user = world.user(1000);
    let set = |ctx: &Context, times| world.ns.utimensat(ctx, AT_FDCWD, Some(b"/f"), times, AtFlags::empty());
    let given = TimeChange::At(Timestamp { secs: 5, nanos: 7 });
    assert_eq!(errno(set(&user, None)), Errno::EACCES);
    assert_eq!(errno(set(&user, Some([given, TimeChange::Omit]))), Errno::EPERM);
    world.chmod(&world.root, "/f", 0o666).unwrap();
    assert!(set(&user, None).is_ok());
    assert_eq!(errno(set(&user, Some([TimeChange::Now, TimeChange::Omit]))), Errno::EPERM);
    assert!(set(&world.root, Some([given, TimeChange::Omit])).is_ok());
    assert_eq!(world.stat("/f").unwrap().attr.atime, Timestamp { secs: 5, nanos: 7 });
}

#[test]
fn extended_attributes_are_guarded_by_class() {
    let world = World::new();
    world.tree(&["/f", "/l -> f", "/d/"]);
    world.chmod(&world.root, "/d", 0o1777).unwrap();
    let user = world.user(1000);
    let set = |ctx: &Context, path: &str, name: &str| {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        world.ns.setxattrat(ctx, AT_FDCWD, path.as_bytes(), flags, name.as_bytes(), b"v", XattrFlags::empty())
    };
    let list = |ctx: &Context, path: &str| {
        let names = world.ns.listxattrat(ctx, AT_FDCWD, path.as_bytes(), AtFlags::empty()).unwrap();
        String::from_utf8(names).unwrap().split_terminator('\0').map(str::to_owned).collect::<Vec<_>>()
    };
    let get = |ctx: &Context, name: &str| world.ns.getxattrat(ctx, AT_FDCWD, b"/f", AtFlags::empty(), name.as_bytes());
    assert!(set(&world.root, "/f", "trusted.t").is_ok());
    assert!(set(&world.root, "/f", "user.u").is_ok());
    assert_eq!(errno(set(&user, "/f", "user.u")), Errno::EACCES);
    assert_eq!(errno(set(&user, "/f", "trusted.t")), Errno::EPERM);
    assert_eq!(errno(set(&user, "/d", "user.u")), Errno::EPERM, "a sticky directory belongs to its owner");
    assert_eq!(errno(set(&world.root, "/l", "user.u")), Errno::EPERM);
    assert_eq!(errno(set(&world.root, "/f", "unknown.u")), Errno::EOPNOTSUPP);
    assert_eq!(errno(get(&user, "trusted.t")), Errno::ENODATA);
    assert_eq!(get(&user, "user.u").unwrap(), b"v");
    assert_eq!(list(&user, "/f"), ["user.u"]);
    let mut all = list(&world.root, "/f");
    all.sort();
    assert_eq!(all, ["trusted.t", "user.u"]);
    assert_eq!(errno(set(&world.root, "/f", "")), Errno::ERANGE);
}

#[test]
fn anyone_makes_a_whiteout_but_only_root_a_device() {
    let world = World::new();
    world.chmod(&world.root, "/", 0o777).unwrap();
    let user = world.user(1000);
    let make = |path: &str, mode, dev| world.ns.mknodat(&user, AT_FDCWD, path.as_bytes(), mode, dev);
    assert_eq!(errno(make("/c", 0o020_666, 0x0103)), Errno::EPERM);
    assert!(make("/w", 0o020_000, 0).is_ok());
    assert!(make("/p", 0o010_666, 0).is_ok());
    assert!(make("/s", 0o140_666, 0).is_ok());
    assert_eq!(errno(make("/d", 0o040_777, 0)), Errno::EPERM);
    assert_eq!(errno(make("/l", 0o120_777, 0)), Errno::EINVAL);
}

#[test]
fn protections_apply_where_they_are_on() {
    let on = Protections {
        symlinks: Protection::On,
        hardlinks: Protection::On,
        fifos: Protection::On,
        regular: Protection::On,
    };
    let world = World::with(NamespaceOptions { protections: on, ..NamespaceOptions::default() });
    world.tree(&["/tmp/", "/secret"]);
    world.chmod(&world.root, "/tmp", 0o1777).unwrap();
    world.chmod(&world.root, "/secret", 0o600).unwrap();
    let (alice, bob) = (world.user(1000), world.user(2000));
    world.ns.symlinkat(&alice, b"../secret", AT_FDCWD, b"/tmp/l").unwrap();
    assert_eq!(errno(world.stat_as(&bob, "/tmp/l")), Errno::EACCES);
    assert!(world.stat_as(&alice, "/tmp/l").is_ok());
    assert_eq!(errno(world.link(&bob, "/secret", "/tmp/hard")), Errno::EPERM);
    let create = OpenFlags::O_CREAT | OpenFlags::O_WRONLY;
    let fd = world.open(&alice, "/tmp/f", create).unwrap();
    alice.file(fd).unwrap().chmod(&alice, 0o666).unwrap();
    assert_eq!(errno(world.open(&bob, "/tmp/f", create)), Errno::EACCES);
    assert!(world.open(&bob, "/tmp/f", OpenFlags::O_WRONLY).is_ok());
}
