//! Archives that were cut, flipped and forged: each is refused with a message or mounted and walked, in bounded time and
//! memory. A failure prints the seed that repeats it.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use tarfs::{MountOptions, TarFs, split};
use vfs::{DirOps, FileSystem, Name, Node};

/// Archives that between them hold everything that is read.
fn originals() -> Vec<Vec<u8>> {
    let mut plain = Tar::new();
    plain.dir("./", 0o755).dir("etc/", 0o755).file("etc/passwd", "root:x:0:0").file("big", [5; 3000]);
    plain.symlink("etc/link", "passwd").link("etc/hard", "etc/passwd").link("early", "late").file("late", "x");
    plain.header(&Header { device: (4, 64), ..Header::new(b'3', "tty") }).header(&Header::new(b'6', "fifo"));
    plain
        .header(&Header { prefix: b"a/b/c".to_vec(), ..Header::new(b'0', "d") })
        .file("etc", "blocked")
        .dir("big", 0o700);

    let mut gnu = Tar::new();
    gnu.long(b'L', "n".repeat(200)).file("n", "long").long(b'K', "t".repeat(300)).long(b'L', "link").symlink("l", "t");
    gnu.0.extend_from_slice(&old_sparse());
    gnu.file("after", "sparse");

    let mut pax = Tar::new();
    pax.extended(b'g', &[("mtime", b"1.5"), ("SCHILY.xattr.user.g", b"1")]);
    pax.pax(&[("path", b"p/q/r"), ("uid", b"70000"), ("mtime", b"-1.25"), ("SCHILY.xattr.user.a", b"b")])
        .file("x", "1");
    pax.pax(&[("LIBARCHIVE.xattr.user.%41", b"AAECAw"), ("size", b"600")]).header(&Header::new(b'0', "sized"));
    pax.data(&[1; 600]);
    pax.pax(&[
        ("GNU.sparse.size", b"5000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"100"),
        ("GNU.sparse.numbytes", b"7"),
        ("GNU.sparse.offset", b"4000"),
        ("GNU.sparse.numbytes", b"3"),
    ]);
    pax.file("sparse00", [2; 10]);
    pax.pax(&[("GNU.sparse.size", b"5000"), ("GNU.sparse.map", b"0,5,9,5"), ("GNU.sparse.name", b"s01")])
        .file("s", [3; 10]);
    let mut text = b"3\n0\n512\n1024\n100\n9000\n0\n".to_vec();
    text.resize(512 + 612, 4);
    pax.pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9000")])
        .file("s10", text);

    let mut oci = Tar::new();
    oci.file("a/.wh.b", "").file("a/.wh..wh..opq", "").dir("c", 0o755).file(".wh.c", "").file(".wh..wh.aufs", "");
    oci.file(".wh.d/e", "");

    let together = [plain.end(), gnu.end()].concat();
    vec![plain.end(), gnu.end(), pax.end(), oci.end(), together]
}

/// An old GNU sparse file with its map in the header and two blocks more.
fn old_sparse() -> Vec<u8> {
    let extent = |block: &mut [u8], at: usize, start: u64, len: u64| {
        block[at..at + 12].copy_from_slice(format!("{start:011o}\0").as_bytes());
        block[at + 12..at + 24].copy_from_slice(format!("{len:011o}\0").as_bytes());
    };
    let count = 30u64;
    let mut header = Header { magic: *b"ustar  \0", size: count * 8, ..Header::new(b'S', "oldsparse") }.block();
    let mut more = [[0u8; BLOCK]; 2];
    for run in 0..count {
        let (start, run) = (run * 100, run as usize);
        match run {
            0..4 => extent(&mut header, 386 + run * 24, start, 8),
            4..25 => extent(&mut more[0], (run - 4) * 24, start, 8),
            _ => extent(&mut more[1], (run - 25) * 24, start, 8),
        }
    }
    header[482] = 1;
    more[0][504] = 1;
    header[483..495].copy_from_slice(format!("{:011o}\0", count * 100).as_bytes());
    fix_checksum(&mut header);
    let mut bytes = [&header[..], &more[0], &more[1], &vec![6; count as usize * 8]].concat();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Corrects the checksum of whatever looks like a header, so that the damage is met behind it.
fn fix_headers(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(BLOCK) {
        if block[..257].iter().any(|&byte| byte != 0) && block[257..].starts_with(b"ustar") {
            fix_checksum(block);
        }
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let blocks = bytes.len() / BLOCK;
        match random.below(9) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = *random.pick(b"\0\xff\x80 /.0179=\n-"),
            3 => bytes.truncate(at / BLOCK * BLOCK),
            4 if blocks > 0 => {
                let block = random.below(blocks) * BLOCK;
                bytes.drain(block..block + BLOCK);
            }
            5 if blocks > 0 => {
                let (from, to) = (random.below(blocks) * BLOCK, random.below(blocks) * BLOCK);
                let block = bytes[from..from + BLOCK].to_vec();
                bytes.splice(to..to, block);
            }
            6 if blocks > 0 => {
                let (from, to) = (random.below(blocks) * BLOCK, random.below(blocks) * BLOCK);
                bytes.copy_within(from..from + BLOCK, to);
            }
            7 if blocks > 0 => {
                // A field of a header: number, type, name, link, magic, device, prefix.
                let fields = [(100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (0, 3), (157, 3), (257, 8), (345, 4)];
                let &(field, len) = random.pick(&fields);
                let block = random.below(blocks) * BLOCK;
                for byte in &mut bytes[block + field..block + field + len] {
                    *byte = *random.pick(b"0123777 \0\xff\x80xgLKSM125/.");
                }
            }
            _ => {
                let len = random.below(64).min(bytes.len() - at);
                bytes[at..at + len].fill_with(|| *random.pick(b"0123456789,=\n GNUpath/."));
            }
        }
    }
}

/// Looks at everything that a mount shows, but reads no more of a file than a hostile size is worth.
fn walk(dir: &Arc<dyn DirOps>, buf: &mut [u8]) -> usize {
    let mut seen = 0;
    for (name, ino, kind, _) in list(dir) {
        seen += 1;
        let node = dir.lookup(Name::new(&name).unwrap()).unwrap().expect("a listed name is found");
        let attr = node.attr().unwrap();
        assert_eq!((attr.ino, attr.kind), (ino, kind));
        assert!(attr.nlink > 0);
        node.ops().list_xattrs(&mut |name| assert!(node.ops().xattr(name).unwrap().is_some())).unwrap();
        match &node {
            Node::Dir(dir) => seen += walk(dir, buf),
            Node::Symlink(link) => assert!((1..=4095).contains(&link.target().unwrap().len())),
            Node::File(file) => {
                for offset in [0, attr.size / 2, attr.size.saturating_sub(1), attr.size, u64::MAX] {
                    let len = file.read_at(offset, buf).unwrap();
                    assert_eq!(len as u64, attr.size.saturating_sub(offset).min(buf.len() as u64));
                    let (data, hole) = (file.seek_data(offset).unwrap(), file.seek_hole(offset).unwrap());
                    assert!(data.is_none_or(|at| (offset..attr.size).contains(&at)));
                    assert!(hole.is_none_or(|at| (offset..=attr.size).contains(&at)));
                }
            }
            Node::Special(_) => {}
        }
    }
    seen
}

/// Mounts in every way and walks; says whether it was mounted.
fn endure(bytes: &[u8]) -> bool {
    let started = Instant::now();
    split(bytes).filter_map(Result::err).for_each(|error| assert!(error.to_string().starts_with("tar: offset ")));
    let mut buf = [0; 2048];
    let mut mounted = false;
    for options in [MountOptions::default(), MountOptions::oci()] {
        match TarFs::mount(bytes.to_vec(), &context(), options) {
            Err(error) => {
                assert!(error.offset <= bytes.len() as u64, "{error}");
                assert!(error.to_string().starts_with("tar: offset "));
            }
            Ok(fs) => {
                mounted = true;
                let seen = walk(&fs.root(), &mut buf);
                assert_eq!(seen, fs.stats().entries);
                assert!(fs.stats().index_bytes <= 64 * bytes.len() + 4096, "{} bytes", fs.stats().index_bytes);
            }
        }
        if let Ok(all) = TarFs::mount_all(bytes.to_vec(), |_| context(), options) {
            all.iter().for_each(|fs| assert_eq!(walk(&fs.root(), &mut buf), fs.stats().entries));
        }
    }
    assert!(started.elapsed() < Duration::from_secs(10), "it took {:?}", started.elapsed());
    mounted
}

#[test]
fn the_originals_are_good() {
    let originals = originals();
    let (last, single) = originals.split_last().unwrap();
    for bytes in single {
        try_mount(bytes.clone()).unwrap_or_else(|error| panic!("{error}"));
        assert!(endure(bytes));
    }
    assert_eq!(split(last).filter(Result::is_ok).count(), 2);
}

#[test]
fn every_truncation_is_survived() {
    for bytes in originals() {
        for len in (0..bytes.len()).step_by(37).chain((0..bytes.len()).step_by(BLOCK)) {
            let _seed = Seed(len as u64);
            endure(&bytes[..len]);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_header_is_noticed() {
    let bytes = Tar::new().file("name", "data").end();
    for bit in 0..BLOCK * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The checksum itself may be written in several ways.
        if !(148..156).contains(&(bit / 8)) {
            assert!(try_mount(flipped).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn damaged_archives_are_refused_or_mounted_and_never_worse() {
    let originals = originals();
    let (mut mounted, mut refused) = (0, 0);
    for seed in 0..6000 {
        let _seed = Seed(seed);
        let mut random = Random(seed);
        let mut bytes = random.pick(&originals).clone();
        damage(&mut bytes, &mut random);
        if random.below(4) > 0 {
            fix_headers(&mut bytes);
        }
        if endure(&bytes) { mounted += 1 } else { refused += 1 }
    }
    assert!(mounted > 500 && refused > 500, "{mounted} mounted, {refused} refused: both ways are to be walked");
}

#[test]
fn archives_of_noise_are_refused() {
    for seed in 0..300 {
        let _seed = Seed(seed);
        let mut random = Random(seed);
        let len = random.below(8000);
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        assert!(!endure(&bytes));
    }
}

#[test]
fn forged_archives_cost_no_more_than_their_size() {
    let mut forged = Vec::new();
    // Names as deep as can be, none like another.
    let mut deep = Tar::new();
    for at in 0..200 {
        let path = format!("{at}/{}", "d/".repeat(2040));
        deep.pax(&[("path", path.as_bytes())]).file("x", "");
    }
    forged.push(deep.end());
    // Global attributes, which every member has, changed before each.
    let mut global = Tar::new();
    let names: Vec<_> = (0..120).map(|name| format!("SCHILY.xattr.user.{name}")).collect();
    let records: Vec<_> = names.iter().map(|name| (name.as_str(), &b"value"[..])).collect();
    global.extended(b'g', &records);
    for at in 0..2000 {
        global.pax(&[("SCHILY.xattr.user.own", b"x")]).file(format!("{at}"), "");
        global.extended(b'g', &[("SCHILY.xattr.user.0", b"y")]).file(format!("{at}-"), "");
    }
    forged.push(global.end());
    // A chain of links, each before its target.
    let mut chain = Tar::new();
    for at in 0..20_000 {
        chain.link(format!("{at}"), format!("{}", at + 1));
    }
    forged.push(chain.file("20000", "").end());
    // One directory described again and again, with attributes that add up.
    let mut again = Tar::new();
    for at in 0..120 {
        again.pax(&[(&format!("SCHILY.xattr.user.{at}"), b"x")]).dir("d", 0o755);
    }
    for _ in 0..2000 {
        again.pax(&[("SCHILY.xattr.user.7", b"y")]).dir("d", 0o755);
    }
    forged.push(again.end());
    // A sparse map of a hundred thousand extents, and a count of extents that none follow.
    let mut map = String::from("100000\n");
    (0..100_000).for_each(|run| map.push_str(&format!("{}\n1\n", run * 2)));
    let mut text = map.into_bytes();
    text.resize(text.len().next_multiple_of(BLOCK) + 100_000, 1);
    let sparse = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"200000")];
    forged.push(Tar::new().pax(&sparse).file("s", text).end());
    forged.push(Tar::new().pax(&sparse).file("s", "18446744073709551615\n").end());
    // Sizes at the edge of what a number holds.
    for size in ["9223372036854775807", "9223372036854775808", "18446744073709551615", "99999999999999999999"] {
        forged.push(Tar::new().pax(&[("size", size.as_bytes())]).file("f", "x").end());
    }
    for (at, bytes) in forged.iter().enumerate() {
        let _seed = Seed(at as u64);
        let started = Instant::now();
        if let Ok(fs) = try_mount(bytes.clone()) {
            let (memory, size) = (fs.stats().index_bytes, bytes.len());
            assert!(memory <= 64 * size + 4096, "{memory} bytes for an archive of {size}");
            walk(&fs.root(), &mut [0; 2048]);
        }
        assert!(started.elapsed() < Duration::from_secs(10), "archive {at} took {:?}", started.elapsed());
    }
}
