//! What is refused, where, and with which words.

mod common;

use common::*;
use vfs::Errno;

fn refusal(bytes: impl Into<Vec<u8>>) -> String {
    match try_mount(bytes) {
        Ok(_) => panic!("it was mounted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_checksum_may_be_of_signed_bytes_and_must_be_right() {
    let mut block = Header::new(b'0', b"caf\xe9").block();
    block[148..156].fill(b' ');
    let signed = block.iter().map(|&byte| i64::from(byte as i8)).sum::<i64>();
    block[148..156].copy_from_slice(format!("{signed:06o}\0 ").as_bytes());
    let fs = mount(Tar(block.to_vec()).end());
    assert_eq!(list(&vfs::FileSystem::root(&*fs))[0].0, b"caf\xe9");

    let mut bytes = Tar::new().file("a", "1").file("b", "2").end();
    // "b" becomes "c".
    bytes[1024] ^= 1;
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    let computed = sum(&bytes[1024..1536]) - sum(&bytes[1172..1180]) + 8 * 32;
    let message = format!("tar: offset 1024: header checksum is {}, computed {computed}", computed - 1);
    assert_eq!(refusal(bytes.clone()), message);
    bytes[1172..1180].fill(b'x');
    assert_eq!(refusal(bytes), "tar: offset 1024: no header here: the checksum field holds no number");
}

#[test]
fn truncation_is_refused_with_what_is_missing() {
    let bytes = Tar::new().file("first", "1").file("dir/second", [7; 1000]).end();
    for (len, message) in [
        (700, None),
        (1024 + 100, Some("tar: offset 1024: the archive ends 412 bytes before the end of a header")),
        (1536 + 100, Some("tar: offset 1536: the archive ends 900 bytes before the end of the data of \"dir/second\"")),
        (1536 + 999, Some("tar: offset 1536: the archive ends 1 bytes before the end of the data of \"dir/second\"")),
        // Only padding or the end marker is missing: nothing is lost.
        (1536 + 1000, None),
        (2560, None),
        (2560 + 512, None),
        (2560 + 700, None),
        (2560 + 1024, None),
    ] {
        match (try_mount(&bytes[..len]), message) {
            (Ok(fs), None) => assert_eq!(read(&fs, "first"), "1", "{len}"),
            (Err(error), Some(message)) => assert_eq!(error.to_string(), message),
            (result, _) => panic!("{len}: {:?}", result.err()),
        }
    }
    let extended = Tar::new().pax(&[("path", b"x")]).end();
    let message = "tar: offset 0: extension headers without a member";
    assert_eq!(refusal(extended.clone()), message);
    assert_eq!(refusal(&extended[..1024]), message);
    let message = "tar: offset 512: the archive ends 4 bytes before the end of a pax header";
    assert_eq!(refusal(&extended[..517]), message);
    let long = Tar::new().long(b'L', [b'n'; 200]).file("x", "").end();
    let message = "tar: offset 512: the archive ends 101 bytes before the end of a long name";
    assert_eq!(refusal(&long[..612]), message);
}

#[test]
fn what_is_no_tar_is_named() {
    assert_eq!(refusal([]), "tar: offset 0: the archive is empty");
    assert_eq!(refusal([0x1f, 0x8b, 8, 0]), "tar: offset 0: not a tar archive but compressed by gzip");
    assert_eq!(refusal(*b"\xfd7zXZ\0\0"), "tar: offset 0: not a tar archive but compressed by xz");
    assert_eq!(refusal(*b"070701001"), "tar: offset 0: not a tar archive but in cpio's format");
    assert_eq!(refusal(vec![b'x'; 5000]), "tar: offset 0: not a tar archive");
    assert_eq!(read(&mount(Tar::new().file("BZh", "9").end()), "BZh"), "9");
}

#[test]
fn refusals_have_the_errno_of_mount() {
    let errno = |bytes: Vec<u8>| vfs::Error::from(try_mount(bytes).err().unwrap()).errno();
    assert_eq!(errno(vec![]), Errno::EINVAL);
    assert_eq!(errno(vec![b'x'; 600]), Errno::EINVAL);
    assert_eq!(errno(vec![0x1f, 0x8b]), Errno::EINVAL);
    assert_eq!(errno(Tar::new().header(&Header::new(b'M', "rest")).end()), Errno::EOPNOTSUPP);
    let mut bytes = Tar::new().file("a", "").file("b", "").end();
    bytes[600] ^= 1;
    assert_eq!(errno(bytes), Errno::EUCLEAN);
}

#[test]
fn the_end_marker_ends_the_archive() {
    let one = Tar::new().file("a", "1").end();
    let mut lone = Tar::new();
    lone.file("a", "1").data(&[0; 512]).file("b", "2");
    assert_eq!(refusal(lone.end()), "tar: offset 1024: a lone block of zeros, which is no end marker");
    let two = [one.clone(), vec![0; 3 * 512], Tar::new().file("b", "2").end()].concat();
    let message = format!("tar: offset {}: another archive follows; only one was expected", one.len() + 3 * 512);
    assert_eq!(refusal(two), message);
    for garbage in [&b"garbage"[..], &[1; 512], &[1; 2000]] {
        let message = format!("tar: offset {}: garbage after the end of the archive", one.len());
        assert_eq!(refusal([&one, garbage].concat()), message);
    }
    assert_eq!(read(&mount([&one[..], &[0; 700]].concat()), "a"), "1");
    let volume = refusal(Tar::new().header(&Header::new(b'M', "rest")).end());
    assert_eq!(volume, "tar: offset 0: not supported: a file that began on another volume");
}

#[test]
fn fields_and_records_without_meaning_refuse_the_archive() {
    let mut block = Header::new(b'0', "f").block();
    block[124] = 0xff;
    fix_checksum(&mut block);
    assert_eq!(refusal(Tar(block.to_vec()).end()), "tar: offset 0: header field `size` holds no valid number");
    block[124..136].copy_from_slice(b"0000000000x ");
    fix_checksum(&mut block);
    assert_eq!(refusal(Tar(block.to_vec()).end()), "tar: offset 0: header field `size` holds no valid number");
    let message = refusal(Tar::new().pax(&[("uid", b"4294967296")]).file("f", "").end());
    assert_eq!(message, "tar: offset 512: invalid value of pax keyword `uid`");
    let message = refusal(Tar::new().member(&Header::new(b'x', "x"), b"99 path=a\n").file("f", "").end());
    assert_eq!(message, "tar: offset 512: malformed pax record: it is longer than its header");
    for (keyword, value) in [
        ("LIBARCHIVE.xattr.user.x", &b"!"[..]),
        ("LIBARCHIVE.xattr.user.%zz", b"AAAA"),
        ("SCHILY.xattr.", b"x"),
        ("SCHILY.xattr.user.big", &[b'x'; 65_537]),
    ] {
        let message = refusal(Tar::new().pax(&[(keyword, value)]).file("f", "").end());
        assert!(message.starts_with("tar: offset 512: extended attribute: "), "{message}");
    }
}

#[test]
fn names_that_no_file_can_have_refuse_the_archive() {
    let start = "tar: offset 0: ";
    let name = "n".repeat(256);
    let message = refusal(Tar::new().long(b'L', &name).file("x", "").end());
    assert_eq!(message, format!("{start}name over 255 bytes: \"{}…\"", "n".repeat(96)));
    let path = "d/".repeat(2048);
    let message = refusal(Tar::new().pax(&[("path", path.as_bytes())]).file("x", "").end());
    assert_eq!(message, format!("{start}member name over 4,095 bytes: \"{}…\"", "d/".repeat(48)));
    let target = "t".repeat(4096);
    let message = refusal(Tar::new().long(b'K', &target).symlink("s\n", "").end());
    assert_eq!(message, format!("{start}link target over 4,095 bytes: \"s\\n\""));
    for keyword in ["path", "linkpath", "GNU.sparse.name"] {
        let message = refusal(Tar::new().pax(&[(keyword, b"a\0b")]).file("x", "").end());
        assert_eq!(message, "tar: offset 512: a name holds a NUL byte");
    }
}

#[test]
fn sparse_maps_that_lie_refuse_the_archive() {
    for (records, message) in [
        (&[("GNU.sparse.numblocks", &b"1"[..]), ("GNU.sparse.map", b"0,1")][..], "the size of the file is missing"),
        (
            &[("GNU.sparse.size", b"9"), ("GNU.sparse.numblocks", b"2"), ("GNU.sparse.map", b"0,1")],
            "it has not as many",
        ),
        (&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,9")], "it speaks of more bytes than are stored"),
        (&[("GNU.sparse.size", b"9"), ("GNU.sparse.offset", b"0"), ("GNU.sparse.offset", b"1")], "do not alternate"),
        (&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9")], "no number"),
        (&[("GNU.sparse.size", b"9223372036854775808"), ("GNU.sparse.map", b"0,1")], "the file is too large"),
    ] {
        let refused = refusal(Tar::new().pax(records).file("f", "four").end());
        assert!(refused.contains(message), "{refused} should say {message}");
    }
    let refused = refusal(Tar::new().pax(&[("GNU.sparse.major", b"2")]).file("f", "").end());
    assert_eq!(refused, "tar: offset 0: not supported: this version of GNU.sparse");
}
