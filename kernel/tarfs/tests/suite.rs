//! The contract suite over archives: every declared tree is written as a pax archive and mounted.

mod common;

use common::{Header, Tar};
use contract::tree::{Item, ItemKind};
use contract::{Features, Fixture, Mounted, Setup};
use tarfs::{MountOptions, TarFs};
use vfs::Errno;

struct Archived;

impl Fixture for Archived {
    fn features(&self) -> Features {
        Features::HARD_LINKS
            | Features::DIR_LINKS
            | Features::DEVICES
            | Features::USER_XATTRS
            | Features::ALL_XATTRS
            | Features::LARGE_XATTRS
            | Features::HOLES
            | Features::HANDLES
            | Features::LARGE
            | Features::CONSTANT_INO
    }

    fn mount(&self, setup: &Setup<'_>) -> vfs::Result<Mounted> {
        let mut tar = Tar::new();
        for item in setup.tree {
            archive(&mut tar, item)?;
        }
        Ok(Mounted::new(TarFs::mount(tar.end(), &setup.context, MountOptions::default())?))
    }
}

fn archive(tar: &mut Tar, item: &Item<'_>) -> vfs::Result<()> {
    let numbers = [item.uid.to_string(), item.gid.to_string()];
    let mtime = format!("{}.{:09}", item.mtime.secs, item.mtime.nanos);
    let names: Vec<_> = item
        .xattrs
        .iter()
        .map(|(name, _)| {
            format!("SCHILY.xattr.{}", String::from_utf8_lossy(name).replace('%', "%25").replace('=', "%3D"))
        })
        .collect();
    let mut records: Vec<(&str, &[u8])> = vec![
        ("path", item.path),
        ("uid", numbers[0].as_bytes()),
        ("gid", numbers[1].as_bytes()),
        ("mtime", mtime.as_bytes()),
    ];
    records.extend(names.iter().zip(item.xattrs).map(|(name, (_, value))| (name.as_str(), *value)));
    let header = |kind| Header { mode: item.mode.into(), ..Header::new(kind, "x") };
    match item.kind {
        ItemKind::Plain(bytes) => tar.pax(&records).member(&header(b'0'), bytes),
        ItemKind::File([]) => tar.pax(&records).header(&header(b'0')),
        ItemKind::File(extents) => {
            let end = extents.iter().map(|(start, bytes)| start + bytes.len() as u64).max().unwrap_or(0).to_string();
            let pairs: Vec<_> = extents.iter().map(|(start, bytes)| format!("{start},{}", bytes.len())).collect();
            let map = pairs.join(",");
            records.extend([("GNU.sparse.size", end.as_bytes()), ("GNU.sparse.map", map.as_bytes())]);
            let data: Vec<u8> = extents.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            tar.pax(&records).member(&header(b'0'), &data)
        }
        ItemKind::Dir => tar.pax(&records).header(&header(b'5')),
        ItemKind::Symlink(target) | ItemKind::HardLink(target) => {
            records.push(("linkpath", target));
            let kind = if matches!(item.kind, ItemKind::Symlink(_)) { b'2' } else { b'1' };
            tar.pax(&records).header(&header(kind))
        }
        ItemKind::CharDevice(number) => {
            tar.pax(&records).header(&Header { device: (number.major, number.minor), ..header(b'3') })
        }
        ItemKind::BlockDevice(number) => {
            tar.pax(&records).header(&Header { device: (number.major, number.minor), ..header(b'4') })
        }
        ItemKind::Fifo => tar.pax(&records).header(&header(b'6')),
        // tar has no type for sockets.
        ItemKind::Socket => return Err(Errno::EOPNOTSUPP.into()),
    };
    Ok(())
}

#[test]
fn the_contract_suite_runs_over_an_archive() {
    let report = contract::run_all(&Archived);
    assert!(report.passed >= 30, "the read group at least runs: {report}");
    report.verdict().unwrap();
}
