//! A read-only filesystem over the bytes of a tar archive: firmware, as it is, without a copy.
//!
//! [`TarFs::mount`] looks at every header once and builds an index of small records; names, link targets and data stay in
//! the archive. A lookup is one hash, a read copies once, straight from the archive to the caller. Nothing changes after
//! the mount, so nothing is locked.
//!
//! ```
//! # use std::sync::Arc;
//! use tarfs::{MountOptions, TarFs};
//! use vfs::{FileSystem, FsContext, Name, Node, Timestamp};
//!
//! # fn firmware() -> Vec<u8> {
//! #     let mut block = vec![0u8; 512];
//! #     block[..10].copy_from_slice(b"etc/issue\0");
//! #     block[100..108].copy_from_slice(b"0000644\0");
//! #     block[124..136].copy_from_slice(b"00000000007\0");
//! #     block[148..156].fill(b' ');
//! #     let sum = block.iter().map(|&b| u32::from(b)).sum::<u32>();
//! #     block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
//! #     block.extend_from_slice(b"Strata\n");
//! #     block.resize(4 * 512, 0);
//! #     block
//! # }
//! let context = FsContext { dev: 0x15, clock: Arc::new(|| Timestamp::EPOCH) };
//! let fs = TarFs::mount(firmware(), &context, MountOptions::default())?;
//! let Some(Node::Dir(etc)) = fs.root().lookup(Name::new(b"etc")?)? else { panic!("no /etc") };
//! let Some(Node::File(issue)) = etc.lookup(Name::new(b"issue")?)? else { panic!("no /etc/issue") };
//! let mut buf = [0; 16];
//! assert_eq!(issue.read_at(0, &mut buf)?, 7);
//! assert_eq!(&buf[..7], b"Strata\n");
//! # Ok::<(), vfs::Error>(())
//! ```
//!
//! What of the formats is read and how odd cases are handled is in `docs/tar.md`. The layers of the crate, each knowing
//! only those before it: `span` (places in the archive), `header` and `fingerprint` (one block), `pax`, `xattr` and
//! `sparse` (extensions), `reader` (a sequence of members), `record` and `index` (what is kept), `place` and `whiteout` (from members to a
//! tree), `node` and `fs` (the vfs contract).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod archive;
mod error;
mod fingerprint;
mod fs;
mod header;
mod index;
mod node;
mod pax;
mod place;
mod reader;
mod record;
mod span;
mod sparse;
mod whiteout;
mod xattr;

pub use archive::{Archive, Split, split};
pub use error::{Reason, TarError};
pub use fs::{Layer, MAGIC, MountOptions, Stats, TarFs};
