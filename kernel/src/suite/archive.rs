//! Makes tar archives in the pax format, for suites that mount them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use contract::tree::{Item, ItemKind};
use vfs::{Errno, Result};

const BLOCK: usize = 512;

/// An archive that is being written.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
}

/// What a header says beside the pax records.
#[derive(Clone, Copy, Default)]
struct Header {
    kind: u8,
    mode: u16,
    size: usize,
    device: (u32, u32),
}

impl Archive {
    /// Adds an item of a declared tree.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for what tar has no type for.
    pub(super) fn add(&mut self, item: &Item<'_>) -> Result<()> {
        let mut records = Vec::new();
        record(&mut records, "path", item.path);
        record(&mut records, "uid", format!("{}", item.uid).as_bytes());
        record(&mut records, "gid", format!("{}", item.gid).as_bytes());
        record(&mut records, "mtime", format!("{}.{:09}", item.mtime.secs, item.mtime.nanos).as_bytes());
        for (name, value) in item.xattrs {
            let name = String::from_utf8_lossy(name).replace('%', "%25").replace('=', "%3D");
            record(&mut records, &format!("SCHILY.xattr.{name}"), value);
        }
        let mut data: Vec<u8> = Vec::new();
        let mut device = (0, 0);
        let kind = match item.kind {
            ItemKind::Plain(bytes) => {
                data.extend(bytes);
                b'0'
            }
            ItemKind::File(extents) => {
                if !extents.is_empty() {
                    let end = extents.iter().map(|(start, bytes)| start + bytes.len() as u64).max().unwrap_or(0);
                    let pairs: Vec<_> =
                        extents.iter().map(|(start, bytes)| format!("{start},{}", bytes.len())).collect();
                    record(&mut records, "GNU.sparse.size", format!("{end}").as_bytes());
                    record(&mut records, "GNU.sparse.map", pairs.join(",").as_bytes());
                    data.extend(extents.iter().flat_map(|(_, bytes)| bytes.iter().copied()));
                }
                b'0'
            }
            ItemKind::Dir => b'5',
            ItemKind::Symlink(target) => {
                record(&mut records, "linkpath", target);
                b'2'
            }
            ItemKind::HardLink(target) => {
                record(&mut records, "linkpath", target);
                b'1'
            }
            ItemKind::CharDevice(number) => {
                device = (number.major, number.minor);
                b'3'
            }
            ItemKind::BlockDevice(number) => {
                device = (number.major, number.minor);
                b'4'
            }
            ItemKind::Fifo => b'6',
            ItemKind::Socket => return Err(Errno::EOPNOTSUPP.into()),
        };
        self.member(Header { kind: b'x', mode: 0o644, size: records.len(), ..Header::default() }, &records);
        self.member(Header { kind, mode: item.mode, size: data.len(), device }, &data);
        Ok(())
    }

    fn member(&mut self, header: Header, data: &[u8]) {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, b"x");
        put(100, format!("{:07o}", header.mode).as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", header.size).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[header.kind]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", header.device.0).as_bytes());
        put(337, format!("{:07o}", header.device.1).as_bytes());
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend(block);
        self.bytes.extend(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

/// A pax record: its own length in decimal digits, a blank, `key=value`, a new line.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let digits = |length: usize| format!("{length}").len();
    let mut length = rest + digits(rest);
    if rest + digits(length) != length {
        length = rest + digits(length);
    }
    records.extend(format!("{length} {key}=").into_bytes());
    records.extend(value);
    records.push(b'\n');
}
