//! What of the formats is read, from headers made by hand.

mod common;

use common::*;
use tarfs::{MountOptions, TarFs, split};
use vfs::{FileSystem, FileType, Name, Node, Timestamp};

fn attr(fs: &TarFs, path: &str) -> vfs::Attr {
    find(fs, path).unwrap_or_else(|| panic!("no {path}")).attr().unwrap()
}

#[test]
fn old_conventions_are_understood() {
    let mut tar = Tar::new();
    let v7 = |kind, name: &str| Header { magic: [0; 8], ..Header::new(kind, name) };
    tar.header(&v7(0, "dir/")).member(&v7(0, "dir/f"), b"old").member(&v7(b'7', "c"), b"contiguous");
    tar.header(&v7(b'V', "a label")).member(&v7(b'D', "dumped/"), b"Yf\0\0").member(&v7(b'Q', "unknown"), b"as a file");
    tar.header(&Header { prefix: b"not/a/prefix".to_vec(), ..v7(0, "plain") });
    let fs = mount(tar.end());
    assert_eq!([read(&fs, "dir/f"), read(&fs, "c"), read(&fs, "unknown")], ["old", "contiguous", "as a file"]);
    assert_eq!((attr(&fs, "dir").kind, attr(&fs, "dumped").kind), (FileType::Dir, FileType::Dir));
    assert!(find(&fs, "plain").is_some() && find(&fs, "a label").is_none());
}

#[test]
fn a_hard_link_may_carry_data_or_only_claim_to() {
    let mut tar = Tar::new();
    let link = Header { link: b"a".to_vec(), ..Header::new(b'1', "b") };
    tar.file("a", "data").member(&link, b"data").header(&Header { size: 4, ..link.clone() }).file("c", "after");
    let fs = mount(tar.end());
    assert_eq!([read(&fs, "b"), read(&fs, "c")], ["data", "after"]);
}

#[test]
fn devices_and_pipes_keep_their_numbers() {
    let mut tar = Tar::new();
    tar.header(&Header { device: (5, 1), ..Header::new(b'3', "console") });
    tar.header(&Header { device: (8, 0x12345), ..Header::new(b'4', "sda") });
    tar.header(&Header::new(b'6', "pipe"));
    tar.pax(&[("SCHILY.devmajor", b"4095"), ("SCHILY.devminor", b"1048575")]).header(&Header::new(b'3', "far"));
    let fs = mount(tar.end());
    for (path, kind, major, minor) in [
        ("console", FileType::CharDevice, 5, 1),
        ("sda", FileType::BlockDevice, 8, 0x12345),
        ("pipe", FileType::Fifo, 0, 0),
        ("far", FileType::CharDevice, 4095, 1_048_575),
    ] {
        let attr = attr(&fs, path);
        assert_eq!((attr.kind, attr.rdev.major, attr.rdev.minor), (kind, major, minor), "{path}");
        assert!(matches!(find(&fs, path), Some(Node::Special(_))));
    }
}

#[test]
fn numbers_may_be_in_base_256() {
    let mut block = Header::new(b'0', "f").block();
    block[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]);
    block[136..148].copy_from_slice(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0]);
    fix_checksum(&mut block);
    let fs = mount(Tar(block.to_vec()).end());
    assert_eq!((attr(&fs, "f").uid, attr(&fs, "f").mtime), (0xffff_fffe, Timestamp::from_secs(-256)));
}

#[test]
fn pax_keywords_override_the_header() {
    let mut tar = Tar::new();
    tar.pax(&[
        ("path", b"long/\xffname"),
        ("mtime", b"-1.25"),
        ("atime", b"7.000000001"),
        ("ctime", b"8"),
        ("uid", b"4000000000"),
        ("gid", b"12"),
        ("uname", b"nobody"),
        ("size", b"3"),
        ("comment", b"with = and \n in it"),
    ]);
    tar.header(&Header { uid: 5, ..Header::new(b'0', "short") }).data(b"abc").file("next", "n");
    let fs = mount(tar.end());
    let next = attr(&fs, "next");
    assert_eq!((next.uid, next.atime), (0, next.mtime), "keywords are of one member");
    let Some(Node::Dir(dir)) = find(&fs, "long") else { panic!() };
    let node = dir.lookup(Name::new(b"\xffname").unwrap()).unwrap().unwrap();
    let attr = node.attr().unwrap();
    assert_eq!(content(&node, 10), b"abc");
    assert_eq!((attr.uid, attr.gid), (4_000_000_000, 12));
    assert_eq!(attr.mtime, Timestamp { secs: -2, nanos: 750_000_000 });
    assert_eq!((attr.atime, attr.ctime), (Timestamp { secs: 7, nanos: 1 }, Timestamp::from_secs(8)));
    assert_eq!(attr.btime, None);
}

#[test]
fn global_pax_keywords_hold_until_changed_and_a_member_overrides_them() {
    let mut tar = Tar::new();
    tar.extended(b'g', &[("uid", b"10"), ("mtime", b"1.5"), ("SCHILY.xattr.user.g", b"G")]);
    tar.file("a", "").pax(&[("uid", b"11"), ("SCHILY.xattr.user.o", b"O")]).file("b", "");
    tar.pax(&[("uid", b""), ("SCHILY.xattr.user.g", b"mine")]).header(&Header { uid: 3, ..Header::new(b'0', "c") });
    tar.extended(b'g', &[("uid", b"20")]).file("d", "").extended(b'g', &[("uid", b"")]);
    tar.header(&Header { uid: 4, ..Header::new(b'0', "e") });
    tar.extended(b'g', &[("comment", b"the archive may end after it")]);
    let fs = mount(tar.end());
    assert_eq!(["a", "b", "c", "d", "e"].map(|path| attr(&fs, path).uid), [10, 11, 3, 20, 4]);
    assert_eq!(attr(&fs, "e").mtime, Timestamp { secs: 1, nanos: 500_000_000 });
    let xattr = |path, name: &str| find(&fs, path).unwrap().ops().xattr(name.as_bytes()).unwrap();
    assert_eq!(["a", "b", "e"].map(|path| xattr(path, "user.g")), [(); 3].map(|()| Some(b"G".to_vec())));
    assert_eq!(xattr("c", "user.g"), Some(b"mine".to_vec()));
    assert_eq!((xattr("b", "user.o"), xattr("a", "user.o")), (Some(b"O".to_vec()), None));
}

#[test]
fn extended_attributes_are_those_of_both_writers() {
    let mut tar = Tar::new();
    tar.pax(&[
        ("LIBARCHIVE.xattr.user.a%3Db", b"/wAB"),
        ("LIBARCHIVE.xattr.user.same", b"c2FtZQ"),
        ("SCHILY.xattr.user.same", b"same"),
        ("SCHILY.xattr.user.c%3Dd", b"\0\xff\n="),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02"),
        ("SCHILY.xattr.user.empty", b""),
    ]);
    tar.file("f", "").pax(&[("SCHILY.xattr.user.one", b"1"), ("SCHILY.xattr.user.two", b"2")]).dir("d", 0o755);
    tar.pax(&[("SCHILY.xattr.user.two", b"zwei")]).dir("d", 0o755);
    let fs = mount(tar.end());
    let tree = snapshot(&fs);
    let of = |path: &[u8]| {
        let pairs = tree[path].xattrs.iter();
        pairs.map(|(name, value)| (String::from_utf8(name.clone()).unwrap(), value.clone())).collect::<Vec<_>>()
    };
    let expected = [
        ("security.capability", &b"\x01\0\0\x02"[..]),
        ("user.a=b", b"\xff\0\x01"),
        ("user.c=d", b"\0\xff\n="),
        ("user.empty", b""),
        ("user.same", b"same"),
    ];
    assert_eq!(of(b"f"), expected.map(|(name, value)| (name.to_string(), value.to_vec())));
    let expected = [("user.one", &b"1"[..]), ("user.two", b"zwei")];
    assert_eq!(of(b"d"), expected.map(|(name, value)| (name.to_string(), value.to_vec())), "they add up");
    assert_eq!(find(&fs, "f").unwrap().ops().xattr(b"user.none").unwrap(), None);
}

#[test]
fn long_names_of_gnu_and_long_paths_of_ustar_are_whole() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let target = "t".repeat(4095);
    let mut tar = Tar::new();
    tar.long(b'L', &long).file("d", "x").long(b'K', &target).long(b'L', "link").symlink("d", "t");
    let header = Header::new(b'0', "n".repeat(100));
    tar.header(&Header { prefix: "p".repeat(155).into_bytes(), ..header.clone() });
    tar.pax(&[("path", b"wins")]).long(b'L', "loses").header(&header);
    let fs = mount(tar.end());
    assert_eq!(read(&fs, &long), "x");
    let Some(Node::Symlink(link)) = find(&fs, "link") else { panic!() };
    assert_eq!(link.target().unwrap(), target.as_bytes());
    assert_eq!(link.attr().unwrap().size, 4095);
    assert!(find(&fs, &format!("{}/{}", "p".repeat(155), "n".repeat(100))).is_some());
    assert!(find(&fs, "wins").is_some() && find(&fs, "loses").is_none());
}

#[test]
fn holes_read_as_zeros_and_are_found() {
    let data: Vec<u8> = (1..=30).collect();
    let mut tar = Tar::new();
    tar.pax(&[
        ("GNU.sparse.major", b"0"),
        ("GNU.sparse.minor", b"1"),
        ("GNU.sparse.name", b"sparse"),
        ("GNU.sparse.size", b"100"),
        ("GNU.sparse.numblocks", b"3"),
        ("GNU.sparse.map", b"10,20,50,10,100,0"),
    ]);
    tar.member(&Header::new(b'0', "GNUSparseFile.1/sparse"), &data);
    tar.pax(&[("GNU.sparse.size", b"9223372036854775807"), ("GNU.sparse.numblocks", b"0"), ("GNU.sparse.map", b"")]);
    tar.file("hole", "");
    let fs = mount(tar.end());
    let node = find(&fs, "sparse").unwrap();
    let mut expected = vec![0; 100];
    expected[10..30].copy_from_slice(&data[..20]);
    expected[50..60].copy_from_slice(&data[20..]);
    for step in 1..=101 {
        assert_eq!(content(&node, step), expected, "in steps of {step}");
    }
    let file = node.as_file().unwrap();
    for (offset, data, hole) in [
        (0, Some(10), Some(0)),
        (10, Some(10), Some(30)),
        (29, Some(29), Some(30)),
        (30, Some(50), Some(30)),
        (59, Some(59), Some(60)),
        (60, None, Some(60)),
        (99, None, Some(99)),
        (100, None, None),
    ] {
        assert_eq!((file.seek_data(offset).unwrap(), file.seek_hole(offset).unwrap()), (data, hole), "at {offset}");
    }
    assert_eq!((node.attr().unwrap().size, node.attr().unwrap().blocks), (100, 1));
    let hole = find(&fs, "hole").unwrap();
    let mut buf = [1; 5];
    assert_eq!(hole.as_file().unwrap().read_at(i64::MAX as u64 - 3, &mut buf).unwrap(), 3);
    assert_eq!((buf, hole.attr().unwrap().blocks), ([0, 0, 0, 1, 1], 0));
}

#[test]
fn concatenated_archives_come_apart_in_order() {
    let parts = [
        Tar::new().file("f", "top").end(),
        [Tar::new().file("f", "middle").file("zeros", [0; 2048]).end(), vec![0; 4 * 512]].concat(),
        Tar::new().file("f", "bottom").0.clone(),
    ];
    let all = parts.concat();
    let found: Vec<_> = split(&all).map(Result::unwrap).collect();
    assert_eq!(found, parts);
    let mounted = TarFs::mount_all(all.clone(), |_| context(), MountOptions::default()).unwrap();
    let texts: Vec<_> = mounted.iter().map(|fs| read(fs, "f")).collect();
    assert_eq!(texts, ["top", "middle", "bottom"]);
    for (fs, part) in mounted.iter().zip(parts) {
        assert_eq!(fs.stats().archive_bytes, part.len());
        assert_eq!(fs.uuid(), mount(part).uuid(), "an archive is the same alone and in a row");
    }
    let first = Tar::new().file("f", "").end();
    let bad = [&first, &[1; 512][..]].concat();
    let errors: Vec<_> = split(&bad).filter_map(Result::err).collect();
    assert_eq!(errors.len(), 1, "a split stops at the first fault");
    assert_eq!(split(&[]).count(), 1, "nothing at all is a fault, too");
    assert!(TarFs::mount_all(bad, |_| context(), MountOptions::default()).is_err());
}
